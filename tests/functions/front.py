"""A function's web server like that of functions-framework: every path and method reaches the function."""

from collections.abc import Callable

from flask import Flask, Request, Response, request
from flask.testing import FlaskClient

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def front(function: Callable[[Request], Response]) -> FlaskClient:
    """A client of a server with this one function."""
    app = Flask("front")

    @app.route("/", defaults={"path": ""}, methods=METHODS)
    @app.route("/<path:path>", methods=METHODS)
    def view(path: str) -> Response:
        return function(request._get_current_object())

    return app.test_client()
