"""What operators' tools use: task views, run history, run requests and cancels.

- `queries` reads task views and the run history from Firestore
- `views` holds what these reads return

This face of the engine is apart from `shared.tasks`: an instance that only runs or reads tasks never
loads it.
"""

from functools import partial

from shared.tasks import _engine
from shared.tasks.admin import queries
from shared.tasks.admin.queries import HistoryPage, Position
from shared.tasks.admin.views import Refusal, RunProgress, RunRecord, TaskView
from shared.tasks.cron import next_tick, recent_ticks
from shared.tasks.documents.models import Action
from shared.tasks.protocol.operator_actions import Cancelled, Requested

__all__ = [
    "Action",
    "Cancelled",
    "HistoryPage",
    "Position",
    "Refusal",
    "Requested",
    "RunProgress",
    "RunRecord",
    "TaskView",
    "cancel_run",
    "next_tick",
    "recent_ticks",
    "request_run",
    "view_history",
    "view_last_changed",
    "view_record",
    "view_tasks",
]

cancel_run = _engine.cancel_run
request_run = _engine.request_run
view_history = partial(queries.view_history, _engine.store)
view_last_changed = partial(queries.view_last_changed, _engine.store)
view_record = partial(queries.view_record, _engine.store)
view_tasks = partial(queries.view_tasks, _engine.store)
