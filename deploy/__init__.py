"""What a deployment needs besides `firebase deploy`; the commands are `python -m deploy`.

Nothing here is deployed.

- `access`: service accounts and their roles.
- `jobs`: changes to Cloud Scheduler jobs.
- `destination`: region and database of a deployment.
- `operators`: requests about charge point operators' records.
- `policies`: alert policies; `costs`: what a deployment costs.
- `page`: the generated parts of docs/deploy.md.
"""
