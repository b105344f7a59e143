"""From the name of a root to what is there: checked, opened, and none that must not be cleaned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from cgjobs import Context, Discard
from cgjobs_cleanup.settings import Settings, StoreRoot
from cgjobs_cleanup.tree import Tree
from cgjobs_data import Settings as DataSettings

if TYPE_CHECKING:
    from cgjobs_cleanup.bucket import Bucket
    from cgjobs_cleanup.place import Addresses


def open_root(name: str, ctx: Context) -> Tree | Bucket:
    """Open a root; close the tree.

    Raises:
        Discard: No root has this name, it cannot be opened, or it is protected.
    """
    settings = ctx.settings(Settings)
    root = settings.roots.get(name)
    if root is None:
        known = ", ".join(settings.roots) or "none"
        raise Discard(f"no root is named {name!r} in [plugins.cleanup] roots; there are: {known}")
    if isinstance(root, Path):
        return _open_tree(name, root, settings)
    stores = ctx.settings(DataSettings)
    store = stores.store(root.store)
    if store is None:
        known = ", ".join(stores.stores) or "reports, uploads"
        raise Discard(
            f"root {name!r} is in store {root.store!r}, which [plugins.data.stores] lacks; there are: {known}"
        )
    if store.directory is not None:
        return _open_tree(name, store.directory / root.prefix, settings)
    return open_bucket(root, ctx)


def open_bucket(root: StoreRoot, ctx: Context) -> Bucket:
    """The bucket of a root whose store is one.

    Raises:
        Discard: boto3 is missing.
    """
    from cgjobs_cleanup.bucket import Bucket
    from cgjobs_data import open_store

    stores = ctx.settings(DataSettings)
    store = ctx.use(open_store, stores, root.store)
    return Bucket(store.s3(), store.settings.bucket, store.settings.prefix + root.prefix, root.store)


def addresses(name: str, ctx: Context) -> Addresses:
    """What the URLs of files below a root look like; ask after the root was opened."""
    from cgjobs_cleanup.place import Addresses

    root = ctx.settings(Settings).roots[name]
    if isinstance(root, Path):
        return Addresses([f"{root.absolute().as_uri()}/"])
    if root.url:
        return Addresses([root.url])
    store = ctx.settings(DataSettings).store(root.store)
    assert store is not None, "the root was opened"
    prefixes = [f"{store.url.rstrip('/')}/{root.prefix}"] if store.url else []
    if store.directory is not None:
        prefixes.append(f"{store.directory.absolute().as_uri()}/{root.prefix}")
    else:
        prefixes.append(f"s3://{store.bucket}/{store.prefix}{root.prefix}")
    return Addresses(prefixes)


def _open_tree(name: str, path: Path, settings: Settings) -> Tree:
    try:
        tree = Tree(path)
    except OSError as error:
        raise Discard(
            f"root {name!r} cannot be opened: {error.strerror}: '{path}'; "
            "it must be a directory that the worker may list, and no symbolic link"
        ) from error
    for other in (Path.home(), user_state_path("cgjobs"), *settings.protected):
        if tree.is_or_contains(other):
            tree.close()
            raise Discard(
                f"root {name!r} is '{path}', which is or contains '{other}'; choose a directory below it"
            )
    return tree
