"""A function's web server as functions-framework makes it: every path and method reaches the function."""

from collections.abc import Callable

from flask import Flask, Request, Response, request
from flask.testing import FlaskClient

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def front(function: Callable[[Request], Response]) -> FlaskClient:
    """A client of a server whose one function this is."""
    app = Flask("front")

    @app.route("/", defaults={"path": ""}, methods=METHODS)
    @app.route("/<path:path>", methods=METHODS)
    def view(path: str) -> Response:
        return function(request._get_current_object())

    return app.test_client()
