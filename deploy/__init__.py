"""What a deployment needs beside `firebase deploy`: roles, alert policies, costs; and its page.

`python -m deploy` has the commands. Nothing of it is deployed.
"""
