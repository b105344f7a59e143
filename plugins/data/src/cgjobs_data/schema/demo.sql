-- ChatGenius' tables (DB-F-001), as SQLite has them.
-- messages.pk is explicit: VACUUM may renumber implicit rowids, which would break the full-text index.

CREATE TABLE users (
    id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, username TEXT NOT NULL, role TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, deleted_at TEXT);
CREATE TABLE channels (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL CHECK (type IN ('public', 'private', 'dm')),
    created_by TEXT NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    archived_at TEXT, created_at TEXT NOT NULL, deleted_at TEXT);
CREATE TABLE channel_members (
    channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL, joined_at TEXT NOT NULL, PRIMARY KEY (channel_id, user_id)) WITHOUT ROWID;
CREATE TABLE messages (
    pk INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    channel_id TEXT NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE RESTRICT,
    content TEXT NOT NULL, thread_id TEXT REFERENCES messages (id) ON DELETE CASCADE,
    edited INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, deleted_at TEXT);
CREATE TABLE reactions (
    id TEXT PRIMARY KEY, message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id), emoji TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE message_reads (
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id), read_at TEXT NOT NULL,
    PRIMARY KEY (message_id, user_id)) WITHOUT ROWID;
CREATE TABLE files (
    id TEXT PRIMARY KEY, message_id TEXT REFERENCES messages (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id), name TEXT NOT NULL, type TEXT NOT NULL,
    size INTEGER NOT NULL, url TEXT NOT NULL, created_at TEXT NOT NULL, deleted_at TEXT);
CREATE TABLE user_settings (
    user_id TEXT PRIMARY KEY REFERENCES users (id), theme TEXT NOT NULL,
    notifications_enabled INTEGER NOT NULL, preferences TEXT NOT NULL);
CREATE TABLE user_status (
    user_id TEXT PRIMARY KEY REFERENCES users (id), status TEXT NOT NULL, last_seen TEXT NOT NULL);
CREATE TABLE sync_state (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id), last_sync TEXT NOT NULL,
    sync_type TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE sessions (sid TEXT PRIMARY KEY, sess TEXT NOT NULL, expire TEXT NOT NULL);
