"""The commands ``fruits cloud``: photographs to S3, stacks on EC2 and EMR, runs on them, costs.

command.py holds the options. It imports nothing else of this folder, and so not boto3, before a
command runs.
"""
