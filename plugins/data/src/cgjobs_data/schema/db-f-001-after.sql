-- The schema of ChatGenius at commit d67ae69 (2025-01-14), the tables of DB-F-001.
-- (github.com/brettdavies/ChatGenius, server/src/db/schema; Copyright (c) 2025, under the MIT License).
-- Unchanged but for the order: foreign keys, indexes and triggers come after the rows, and extensions that
-- no table uses are left out.

-- Indexes
CREATE INDEX idx_users_email ON users(email);
CREATE INDEX idx_users_auth0_id ON users(auth0_id);
CREATE INDEX idx_users_username ON users(username);

-- Triggers
CREATE OR REPLACE FUNCTION update_updated_at_column()
RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$ language 'plpgsql';

CREATE TRIGGER update_users_updated_at
    BEFORE UPDATE ON users
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

ALTER TABLE channels ADD FOREIGN KEY (created_by) REFERENCES users(id) ON DELETE RESTRICT;
ALTER TABLE channels ADD FOREIGN KEY (archived_by) REFERENCES users(id);

-- Indexes
CREATE INDEX idx_channels_name ON channels(name);
CREATE INDEX idx_channels_type ON channels(type);
CREATE INDEX idx_channels_created_by ON channels(created_by);
CREATE INDEX idx_channels_archived_at ON channels(archived_at) WHERE archived_at IS NULL;

-- Triggers
CREATE TRIGGER update_channels_updated_at
    BEFORE UPDATE ON channels
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

-- Add trigger to prevent updates to archived channels
CREATE OR REPLACE FUNCTION prevent_archived_channel_updates()
RETURNS TRIGGER AS $$
BEGIN
  IF OLD.archived_at IS NOT NULL THEN
    RAISE EXCEPTION 'Cannot modify archived channel';
  END IF;
  RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER prevent_archived_channel_updates
    BEFORE UPDATE ON channels
    FOR EACH ROW
    EXECUTE FUNCTION prevent_archived_channel_updates();

ALTER TABLE messages ADD FOREIGN KEY (channel_id) REFERENCES channels(id) ON DELETE CASCADE;
ALTER TABLE messages ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT;
ALTER TABLE messages ADD FOREIGN KEY (thread_id) REFERENCES messages(id) ON DELETE CASCADE;

-- Indexes
CREATE INDEX idx_messages_channel_id ON messages(channel_id);
CREATE INDEX idx_messages_user_id ON messages(user_id);
CREATE INDEX idx_messages_thread_id ON messages(thread_id);
CREATE INDEX idx_messages_created_at ON messages(created_at);

-- Triggers
CREATE TRIGGER update_messages_updated_at
    BEFORE UPDATE ON messages
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

-- Notification function for real-time updates
CREATE OR REPLACE FUNCTION notify_message_change()
RETURNS TRIGGER AS $$
BEGIN
    PERFORM pg_notify(
        'message_change',
        json_build_object(
            'operation', TG_OP,
            'record', row_to_json(NEW)
        )::text
    );
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

-- Triggers for real-time notifications
CREATE TRIGGER notify_message_insert
    AFTER INSERT ON messages
    FOR EACH ROW
    EXECUTE FUNCTION notify_message_change();

CREATE TRIGGER notify_message_update
    AFTER UPDATE ON messages
    FOR EACH ROW
    EXECUTE FUNCTION notify_message_change();

ALTER TABLE reactions ADD FOREIGN KEY (message_id) REFERENCES messages(id) ON DELETE CASCADE;
ALTER TABLE reactions ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

-- Indexes
CREATE INDEX idx_reactions_message_id ON reactions(message_id);
CREATE INDEX idx_reactions_user_id ON reactions(user_id);
CREATE INDEX idx_reactions_emoji ON reactions(emoji);

-- Notification function for real-time updates
CREATE OR REPLACE FUNCTION notify_reaction_change()
RETURNS TRIGGER AS $$
BEGIN
    PERFORM pg_notify(
        'reaction_change',
        json_build_object(
            'operation', TG_OP,
            'record', row_to_json(NEW)
        )::text
    );
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

-- Triggers for real-time notifications
CREATE TRIGGER notify_reaction_insert
    AFTER INSERT ON reactions
    FOR EACH ROW
    EXECUTE FUNCTION notify_reaction_change();

CREATE TRIGGER notify_reaction_delete
    AFTER DELETE ON reactions
    FOR EACH ROW
    EXECUTE FUNCTION notify_reaction_change();

ALTER TABLE channel_members ADD FOREIGN KEY (channel_id) REFERENCES channels(id) ON DELETE CASCADE;
ALTER TABLE channel_members ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

-- Indexes
CREATE INDEX idx_channel_members_channel_id ON channel_members(channel_id);
CREATE INDEX idx_channel_members_user_id ON channel_members(user_id);
CREATE INDEX idx_channel_members_role ON channel_members(role);

-- Triggers
CREATE TRIGGER update_channel_members_updated_at
    BEFORE UPDATE ON channel_members
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

-- Notification function for real-time updates
CREATE OR REPLACE FUNCTION notify_channel_member_change()
RETURNS TRIGGER AS $$
BEGIN
    PERFORM pg_notify(
        'channel_member_change',
        json_build_object(
            'operation', TG_OP,
            'record', row_to_json(NEW)
        )::text
    );
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

-- Triggers for real-time notifications
CREATE TRIGGER notify_channel_member_insert
    AFTER INSERT ON channel_members
    FOR EACH ROW
    EXECUTE FUNCTION notify_channel_member_change();

CREATE TRIGGER notify_channel_member_update
    AFTER UPDATE ON channel_members
    FOR EACH ROW
    EXECUTE FUNCTION notify_channel_member_change();

CREATE TRIGGER notify_channel_member_delete
    AFTER DELETE ON channel_members
    FOR EACH ROW
    EXECUTE FUNCTION notify_channel_member_change();

ALTER TABLE files ADD FOREIGN KEY (message_id) REFERENCES messages(id) ON DELETE CASCADE;
ALTER TABLE files ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT;

-- Indexes
CREATE INDEX idx_files_user_id ON files(user_id);
CREATE INDEX idx_files_message_id ON files(message_id);
CREATE INDEX idx_files_type ON files(type);

-- Triggers
CREATE TRIGGER update_files_updated_at
    BEFORE UPDATE ON files
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

-- Function to clean up storage on file deletion
CREATE OR REPLACE FUNCTION cleanup_file_storage()
RETURNS TRIGGER AS $$
BEGIN
    -- Note: Implement actual storage cleanup logic here
    -- This is a placeholder for the cleanup implementation
    RETURN OLD;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER cleanup_deleted_file
    AFTER DELETE ON files
    FOR EACH ROW
    EXECUTE FUNCTION cleanup_file_storage();

ALTER TABLE user_settings ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

-- Indexes
CREATE INDEX idx_user_settings_user_id ON user_settings(user_id);

-- Triggers
CREATE TRIGGER update_user_settings_updated_at
    BEFORE UPDATE ON user_settings
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

ALTER TABLE user_status ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

-- Indexes
CREATE INDEX idx_user_status_user_id ON user_status(user_id);
CREATE INDEX idx_user_status_presence ON user_status(presence);

-- Triggers
CREATE TRIGGER update_user_status_updated_at
    BEFORE UPDATE ON user_status
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

-- Notification function for real-time updates
CREATE OR REPLACE FUNCTION notify_user_status_change()
RETURNS TRIGGER AS $$
BEGIN
    PERFORM pg_notify(
        'user_status_change',
        json_build_object(
            'operation', TG_OP,
            'record', row_to_json(NEW)
        )::text
    );
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

-- Triggers for real-time notifications
CREATE TRIGGER notify_user_status_update
    AFTER UPDATE ON user_status
    FOR EACH ROW
    EXECUTE FUNCTION notify_user_status_change();

ALTER TABLE message_reads ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE message_reads ADD FOREIGN KEY (channel_id) REFERENCES channels(id) ON DELETE CASCADE;
ALTER TABLE message_reads ADD FOREIGN KEY (last_read_message_id) REFERENCES messages(id) ON DELETE CASCADE;

-- Indexes
CREATE INDEX idx_message_reads_user_id ON message_reads(user_id);
CREATE INDEX idx_message_reads_channel_id ON message_reads(channel_id);
CREATE INDEX idx_message_reads_last_read_message_id ON message_reads(last_read_message_id);

-- Triggers
CREATE TRIGGER update_message_reads_updated_at
    BEFORE UPDATE ON message_reads
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

ALTER TABLE sync_state ADD FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE sync_state ADD FOREIGN KEY (channel_id) REFERENCES channels(id) ON DELETE CASCADE;

-- Indexes
CREATE INDEX idx_sync_state_user_id ON sync_state(user_id);
CREATE INDEX idx_sync_state_channel_id ON sync_state(channel_id);
CREATE INDEX idx_sync_state_last_synced_at ON sync_state(last_synced_at);

-- Triggers
CREATE TRIGGER update_sync_state_updated_at
    BEFORE UPDATE ON sync_state
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();
