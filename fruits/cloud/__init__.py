"""The commands ``fruits cloud``: photographs to S3, stacks on EC2 and EMR, runs on them, costs.

command.py holds the options, and is all that is imported before a command runs: boto3 is not.
"""
