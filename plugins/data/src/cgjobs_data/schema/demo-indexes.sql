-- Run after the rows are in: building an index at once is several times faster than growing it.

CREATE INDEX messages_created_at ON messages (created_at);
CREATE INDEX messages_channel_id ON messages (channel_id, created_at);
CREATE INDEX messages_user_id ON messages (user_id);
CREATE INDEX messages_thread_id ON messages (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX reactions_message_id ON reactions (message_id);
CREATE INDEX files_message_id ON files (message_id);
CREATE INDEX files_created_at ON files (created_at);
CREATE INDEX sessions_expire ON sessions (expire);
CREATE VIRTUAL TABLE messages_fts USING fts5 (content, content = 'messages', content_rowid = 'pk');
INSERT INTO messages_fts (messages_fts) VALUES ('rebuild');
CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages BEGIN
    INSERT INTO messages_fts (rowid, content) VALUES (new.pk, new.content); END;
CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages BEGIN
    INSERT INTO messages_fts (messages_fts, rowid, content) VALUES ('delete', old.pk, old.content); END;
CREATE TRIGGER messages_fts_update AFTER UPDATE OF content ON messages BEGIN
    INSERT INTO messages_fts (messages_fts, rowid, content) VALUES ('delete', old.pk, old.content);
    INSERT INTO messages_fts (rowid, content) VALUES (new.pk, new.content); END;
ANALYZE;
