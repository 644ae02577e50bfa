"""The commands ``fruits cloud``: photographs to S3, stacks on EC2 and EMR, runs on them, costs.

command.py has the commands, options.py the options of launch. Neither imports boto3 or other
modules of this folder before a command runs.
"""
