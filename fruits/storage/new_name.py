"""Gives a local file a name that is not taken, in one step, also where there are no hard links."""

import ctypes
import errno
import os

from fruits.errors import StorageError

# What file systems answer that have no hard links: exFAT, FAT, and some mounts of FUSE and SMB.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# What they answer if a rename cannot keep the old file, either.
_NO_FLAG = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)

# Of Linux' renameat2: paths are relative to the working folder, and an existing file is an error.
_HERE, _NO_REPLACE = -100, 1


def give_new_name(path: str, name: str) -> bool:
    """Gives a file another name, unless that name is taken; the old name may stay.

    Args:
        path: the path of the file.
        name: the new path, in the same folder.

    Returns:
        Whether the name was free.

    Raises:
        StorageError: the file system cannot do it in one step.
        OSError: the folder cannot be written.
    """
    try:
        os.link(path, name)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        failure = _rename(path, name)
        if failure in _NO_FLAG:
            raise StorageError(
                f"{name}: wanted a file system with hard links, so that of two runs only one can "
                f"create a file; it has none ({error.strerror}): choose a folder on another disk"
            ) from error
        if failure not in (0, errno.EEXIST):
            raise OSError(failure, os.strerror(failure), name) from error
        return not failure
    return True


def _rename(path: str, name: str) -> int:
    """Renames a file unless the new name is taken; returns the number of the error, or 0."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return errno.ENOSYS
    failed = rename(_HERE, os.fsencode(path), _HERE, os.fsencode(name), _NO_REPLACE)
    return ctypes.get_errno() if failed else 0
