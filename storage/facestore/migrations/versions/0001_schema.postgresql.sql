CREATE TABLE activity (
    seq BIGSERIAL NOT NULL,
    activity_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(600),
    task VARCHAR(300),
    attempt INTEGER NOT NULL,
    command VARCHAR(64) NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seconds FLOAT(53) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    exit_code INTEGER NOT NULL,
    error VARCHAR(64),
    state VARCHAR(32),
    items BIGINT NOT NULL,
    counts JSON,
    PRIMARY KEY (seq),
    UNIQUE (activity_id)
)

CREATE INDEX ix_activity_run_id ON activity (run_id)

CREATE OR REPLACE FUNCTION activity_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'activity is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER activity_no_change BEFORE UPDATE OR DELETE ON activity
        FOR EACH ROW EXECUTE FUNCTION activity_append_only()

CREATE TRIGGER activity_no_truncate BEFORE TRUNCATE ON activity
        FOR EACH STATEMENT EXECUTE FUNCTION activity_append_only()

CREATE TABLE announcement (
    seq SERIAL NOT NULL,
    what VARCHAR(32) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    run_id TEXT NOT NULL,
    announced_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (seq)
)

CREATE INDEX ix_announcement_what ON announcement (what)

CREATE TABLE audit_entry (
    seq BIGINT NOT NULL,
    entry_hash VARCHAR(64) NOT NULL,
    previous_hash VARCHAR(64) NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    who VARCHAR(80) NOT NULL,
    action VARCHAR(170) NOT NULL,
    purpose VARCHAR(170) NOT NULL,
    subject_ref VARCHAR(64),
    what TEXT NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (entry_hash),
    UNIQUE (previous_hash)
)

CREATE INDEX ix_audit_entry_action ON audit_entry (action)

CREATE INDEX ix_audit_entry_at ON audit_entry (at)

CREATE INDEX ix_audit_entry_subject_ref ON audit_entry (subject_ref)

CREATE INDEX ix_audit_entry_who ON audit_entry (who)

CREATE OR REPLACE FUNCTION audit_entry_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'audit_entry is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER audit_entry_no_change BEFORE UPDATE OR DELETE ON audit_entry
        FOR EACH ROW EXECUTE FUNCTION audit_entry_append_only()

CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON audit_entry
        FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_append_only()

CREATE TABLE audit_head (
    seq BIGSERIAL NOT NULL,
    head_id VARCHAR(64) NOT NULL,
    entries BIGINT NOT NULL,
    entry_hash VARCHAR(64) NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    public_key VARCHAR(64) NOT NULL,
    signature VARCHAR(128) NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (head_id)
)

CREATE OR REPLACE FUNCTION audit_head_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'audit_head is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER audit_head_no_change BEFORE UPDATE OR DELETE ON audit_head
        FOR EACH ROW EXECUTE FUNCTION audit_head_append_only()

CREATE TRIGGER audit_head_no_truncate BEFORE TRUNCATE ON audit_head
        FOR EACH STATEMENT EXECUTE FUNCTION audit_head_append_only()

CREATE TABLE consent_event (
    seq BIGSERIAL NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    event_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    consent_id VARCHAR(128) NOT NULL,
    subject_ref VARCHAR(64) NOT NULL,
    said_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    retain_until TIMESTAMP WITH TIME ZONE,
    jurisdiction VARCHAR(16),
    controller VARCHAR(200),
    purposes JSON NOT NULL,
    data_categories JSON NOT NULL,
    notice_version VARCHAR(64),
    notice_sha256 VARCHAR(64),
    evidence_sha256 VARCHAR(64),
    method VARCHAR(64),
    guardian_ref VARCHAR(64),
    reason VARCHAR(64),
    said_by VARCHAR(200) NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (event_id)
)

CREATE INDEX ix_consent_event_consent_id ON consent_event (consent_id)

CREATE INDEX ix_consent_event_subject_ref ON consent_event (subject_ref)

CREATE OR REPLACE FUNCTION consent_event_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'consent_event is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER consent_event_no_change BEFORE UPDATE OR DELETE ON consent_event
        FOR EACH ROW EXECUTE FUNCTION consent_event_append_only()

CREATE TRIGGER consent_event_no_truncate BEFORE TRUNCATE ON consent_event
        FOR EACH STATEMENT EXECUTE FUNCTION consent_event_append_only()

CREATE TABLE consent_purpose (
    seq BIGSERIAL NOT NULL,
    allowance_id VARCHAR(100) NOT NULL,
    event_id VARCHAR(64) NOT NULL,
    purpose VARCHAR(32) NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (allowance_id)
)

CREATE INDEX ix_consent_purpose_event_id ON consent_purpose (event_id)

CREATE OR REPLACE FUNCTION consent_purpose_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'consent_purpose is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER consent_purpose_no_change BEFORE UPDATE OR DELETE ON consent_purpose
        FOR EACH ROW EXECUTE FUNCTION consent_purpose_append_only()

CREATE TRIGGER consent_purpose_no_truncate BEFORE TRUNCATE ON consent_purpose
        FOR EACH STATEMENT EXECUTE FUNCTION consent_purpose_append_only()

CREATE TABLE decision (
    seq BIGSERIAL NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    decision_id VARCHAR(64) NOT NULL,
    verb VARCHAR(16) NOT NULL,
    face_id VARCHAR(64),
    other_face_id VARCHAR(64),
    identity_id VARCHAR(64),
    name TEXT,
    value TEXT,
    retracts VARCHAR(64),
    annotator TEXT NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
    question_id TEXT,
    annotation_id TEXT,
    annotation_version INTEGER,
    note TEXT,
    PRIMARY KEY (seq),
    UNIQUE (decision_id)
)

CREATE INDEX ix_decision_decided_at ON decision (decided_at)

CREATE INDEX ix_decision_face_id ON decision (face_id)

CREATE INDEX ix_decision_identity_id ON decision (identity_id)

CREATE INDEX ix_decision_other_face_id ON decision (other_face_id)

CREATE OR REPLACE FUNCTION decision_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'decision is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER decision_no_change BEFORE UPDATE OR DELETE ON decision
        FOR EACH ROW EXECUTE FUNCTION decision_append_only()

CREATE TRIGGER decision_no_truncate BEFORE TRUNCATE ON decision
        FOR EACH STATEMENT EXECUTE FUNCTION decision_append_only()

CREATE TABLE due_mark (
    seq BIGINT NOT NULL,
    run_id VARCHAR(600) NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    faces BIGINT NOT NULL,
    decisions BIGINT NOT NULL,
    labels_digest VARCHAR(64) NOT NULL,
    answer JSON,
    PRIMARY KEY (seq),
    UNIQUE (run_id)
)

CREATE OR REPLACE FUNCTION due_mark_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'due_mark is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER due_mark_no_change BEFORE UPDATE OR DELETE ON due_mark
        FOR EACH ROW EXECUTE FUNCTION due_mark_append_only()

CREATE TRIGGER due_mark_no_truncate BEFORE TRUNCATE ON due_mark
        FOR EACH STATEMENT EXECUTE FUNCTION due_mark_append_only()

CREATE TABLE erased_face (
    ref VARCHAR(64) NOT NULL,
    PRIMARY KEY (ref)
)

CREATE TABLE erased_footage (
    ref VARCHAR(64) NOT NULL,
    PRIMARY KEY (ref)
)

CREATE TABLE erasure (
    erasure_id VARCHAR(64) NOT NULL,
    subject_ref VARCHAR(64) NOT NULL,
    asked_by VARCHAR(200) NOT NULL,
    reason VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (erasure_id)
)

CREATE INDEX ix_erasure_state ON erasure (state)

CREATE INDEX ix_erasure_subject_ref ON erasure (subject_ref)

CREATE TABLE erasure_step (
    erasure_id VARCHAR(64) NOT NULL,
    step VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    what JSON,
    done_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (erasure_id, step)
)

CREATE TABLE finding (
    place VARCHAR(32) NOT NULL,
    state VARCHAR(200) NOT NULL,
    footage_id VARCHAR(64),
    body TEXT NOT NULL,
    PRIMARY KEY (place)
)

CREATE INDEX ix_finding_footage_id ON finding (footage_id)

CREATE TABLE identity_event (
    seq BIGSERIAL NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    event_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    identity_id VARCHAR(64) NOT NULL,
    other_identity_id VARCHAR(64),
    face_ids JSON NOT NULL,
    decision_ids JSON NOT NULL,
    name TEXT,
    undoes VARCHAR(64),
    annotator TEXT NOT NULL,
    happened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    note TEXT,
    PRIMARY KEY (seq),
    UNIQUE (event_id)
)

CREATE INDEX ix_identity_event_happened_at ON identity_event (happened_at)

CREATE INDEX ix_identity_event_identity_id ON identity_event (identity_id)

CREATE INDEX ix_identity_event_other_identity_id ON identity_event (other_identity_id)

CREATE OR REPLACE FUNCTION identity_event_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'identity_event is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER identity_event_no_change BEFORE UPDATE OR DELETE ON identity_event
        FOR EACH ROW EXECUTE FUNCTION identity_event_append_only()

CREATE TRIGGER identity_event_no_truncate BEFORE TRUNCATE ON identity_event
        FOR EACH STATEMENT EXECUTE FUNCTION identity_event_append_only()

CREATE TABLE job (
    job_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    inputs_digest VARCHAR(64) NOT NULL,
    params JSON,
    revision VARCHAR(64),
    parameter_set VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    attempt INTEGER NOT NULL,
    launcher VARCHAR(16) NOT NULL,
    handle VARCHAR(300),
    log VARCHAR(300),
    is_cancel_asked BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    launched_at TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    result JSON,
    message TEXT,
    PRIMARY KEY (job_id)
)

CREATE INDEX ix_job_inputs_digest ON job (inputs_digest)

CREATE TABLE lease (
    name VARCHAR(200) NOT NULL,
    token INTEGER NOT NULL,
    holder VARCHAR(200),
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    losses INTEGER NOT NULL,
    PRIMARY KEY (name)
)

CREATE TABLE measurement (
    seq BIGSERIAL NOT NULL,
    measurement_id VARCHAR(64) NOT NULL,
    taken BIGINT NOT NULL,
    measured_by VARCHAR(16) NOT NULL,
    name VARCHAR(64) NOT NULL,
    labels JSON,
    value FLOAT(53) NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    run_id VARCHAR(600),
    PRIMARY KEY (seq),
    UNIQUE (measurement_id)
)

CREATE INDEX ix_measurement_at ON measurement (at)

CREATE INDEX ix_measurement_run_id ON measurement (run_id)

CREATE INDEX ix_measurement_taken ON measurement (taken)

CREATE OR REPLACE FUNCTION measurement_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'measurement is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER measurement_no_change BEFORE UPDATE OR DELETE ON measurement
        FOR EACH ROW EXECUTE FUNCTION measurement_append_only()

CREATE TRIGGER measurement_no_truncate BEFORE TRUNCATE ON measurement
        FOR EACH STATEMENT EXECUTE FUNCTION measurement_append_only()

CREATE TABLE model (
    seq BIGINT NOT NULL,
    model_id VARCHAR(64) NOT NULL,
    release VARCHAR(64) NOT NULL,
    contract_id VARCHAR(64) NOT NULL,
    folder VARCHAR(300) NOT NULL,
    revision VARCHAR(64),
    params JSON,
    registered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (model_id)
)

CREATE INDEX ix_model_release ON model (release)

CREATE OR REPLACE FUNCTION model_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'model is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER model_no_change BEFORE UPDATE OR DELETE ON model
        FOR EACH ROW EXECUTE FUNCTION model_append_only()

CREATE TRIGGER model_no_truncate BEFORE TRUNCATE ON model
        FOR EACH STATEMENT EXECUTE FUNCTION model_append_only()

CREATE TABLE model_run (
    seq BIGINT NOT NULL,
    run_key VARCHAR(64) NOT NULL,
    stage VARCHAR(32) NOT NULL,
    release VARCHAR(64) NOT NULL,
    candidate VARCHAR(64) NOT NULL,
    output VARCHAR(64) NOT NULL,
    params JSON,
    revision VARCHAR(64),
    is_dirty BOOLEAN,
    lock VARCHAR(64) NOT NULL,
    machine JSON,
    figures JSON,
    curve JSON,
    forked_from VARCHAR(64),
    wall_s FLOAT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (run_key)
)

CREATE INDEX ix_model_run_candidate ON model_run (candidate)

CREATE INDEX ix_model_run_stage ON model_run (stage)

CREATE OR REPLACE FUNCTION model_run_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'model_run is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER model_run_no_change BEFORE UPDATE OR DELETE ON model_run
        FOR EACH ROW EXECUTE FUNCTION model_run_append_only()

CREATE TRIGGER model_run_no_truncate BEFORE TRUNCATE ON model_run
        FOR EACH STATEMENT EXECUTE FUNCTION model_run_append_only()

CREATE TABLE model_turn (
    seq BIGINT NOT NULL,
    turn_id VARCHAR(32) NOT NULL,
    turn VARCHAR(16) NOT NULL,
    model_id VARCHAR(64) NOT NULL,
    taken_back VARCHAR(32),
    by VARCHAR(200) NOT NULL,
    why TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    evaluation VARCHAR(64) NOT NULL,
    figures JSON,
    PRIMARY KEY (seq),
    UNIQUE (turn_id)
)

CREATE INDEX ix_model_turn_model_id ON model_turn (model_id)

CREATE OR REPLACE FUNCTION model_turn_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'model_turn is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER model_turn_no_change BEFORE UPDATE OR DELETE ON model_turn
        FOR EACH ROW EXECUTE FUNCTION model_turn_append_only()

CREATE TRIGGER model_turn_no_truncate BEFORE TRUNCATE ON model_turn
        FOR EACH STATEMENT EXECUTE FUNCTION model_turn_append_only()

CREATE TABLE pepper_check (
    ref VARCHAR(64) NOT NULL,
    PRIMARY KEY (ref)
)

CREATE TABLE profile (
    seq BIGSERIAL NOT NULL,
    profile_id VARCHAR(64) NOT NULL,
    contract_id VARCHAR(64) NOT NULL,
    faces BIGINT NOT NULL,
    shape JSON,
    PRIMARY KEY (seq),
    UNIQUE (profile_id)
)

CREATE INDEX ix_profile_contract_id ON profile (contract_id)

CREATE OR REPLACE FUNCTION profile_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'profile is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER profile_no_change BEFORE UPDATE OR DELETE ON profile
        FOR EACH ROW EXECUTE FUNCTION profile_append_only()

CREATE TRIGGER profile_no_truncate BEFORE TRUNCATE ON profile
        FOR EACH STATEMENT EXECUTE FUNCTION profile_append_only()

CREATE TABLE promotion (
    seq BIGINT NOT NULL,
    promotion_id VARCHAR(32) NOT NULL,
    turn VARCHAR(16) NOT NULL,
    release VARCHAR(64) NOT NULL,
    taken_back VARCHAR(32),
    by VARCHAR(200) NOT NULL,
    why TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    job_id VARCHAR(32),
    parameter_set VARCHAR(64) NOT NULL,
    revision VARCHAR(64),
    figures JSON,
    faces BIGINT NOT NULL,
    decisions BIGINT NOT NULL,
    labels_digest VARCHAR(64) NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (promotion_id)
)

CREATE INDEX ix_promotion_release ON promotion (release)

CREATE OR REPLACE FUNCTION promotion_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'promotion is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER promotion_no_change BEFORE UPDATE OR DELETE ON promotion
        FOR EACH ROW EXECUTE FUNCTION promotion_append_only()

CREATE TRIGGER promotion_no_truncate BEFORE TRUNCATE ON promotion
        FOR EACH STATEMENT EXECUTE FUNCTION promotion_append_only()

CREATE TABLE question (
    question_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    subject TEXT NOT NULL,
    subset TEXT NOT NULL,
    reason TEXT NOT NULL,
    reason_detail TEXT NOT NULL,
    model_version TEXT NOT NULL,
    chance FLOAT(53) NOT NULL,
    gain FLOAT(53) NOT NULL,
    seconds FLOAT(53) NOT NULL,
    needs INTEGER NOT NULL,
    expected TEXT,
    rank INTEGER NOT NULL,
    offered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (question_id)
)

CREATE INDEX ix_question_kind ON question (kind)

CREATE INDEX ix_question_offered_at ON question (offered_at)

CREATE TABLE review (
    seq BIGSERIAL NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    review_id VARCHAR(64) NOT NULL,
    face_id VARCHAR(64) NOT NULL,
    identity_id VARCHAR(64) NOT NULL,
    confidence FLOAT(53) NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    is_right BOOLEAN NOT NULL,
    annotator TEXT NOT NULL,
    reviewed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (review_id)
)

CREATE INDEX ix_review_face_id ON review (face_id)

CREATE INDEX ix_review_reviewed_at ON review (reviewed_at)

CREATE INDEX ix_review_run_id ON review (run_id)

CREATE OR REPLACE FUNCTION review_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'review is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER review_no_change BEFORE UPDATE OR DELETE ON review
        FOR EACH ROW EXECUTE FUNCTION review_append_only()

CREATE TRIGGER review_no_truncate BEFORE TRUNCATE ON review
        FOR EACH STATEMENT EXECUTE FUNCTION review_append_only()

CREATE TABLE review_annotation (
    seq BIGSERIAL NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version_id VARCHAR(64) NOT NULL,
    project_key VARCHAR(64) NOT NULL,
    unique_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    annotation_id BIGINT NOT NULL,
    task_id BIGINT NOT NULL,
    question_id VARCHAR(64) NOT NULL,
    annotator TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    answer TEXT,
    detail TEXT NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lead_time_s FLOAT(53),
    digest VARCHAR(64) NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (project_key, unique_id, version),
    UNIQUE (version_id)
)

CREATE INDEX ix_review_annotation_question_id ON review_annotation (question_id)

CREATE OR REPLACE FUNCTION review_annotation_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION 'review_annotation is append-only: append what takes it back'; END $$ LANGUAGE plpgsql

CREATE TRIGGER review_annotation_no_change BEFORE UPDATE OR DELETE ON review_annotation
        FOR EACH ROW EXECUTE FUNCTION review_annotation_append_only()

CREATE TRIGGER review_annotation_no_truncate BEFORE TRUNCATE ON review_annotation
        FOR EACH STATEMENT EXECUTE FUNCTION review_annotation_append_only()

CREATE TABLE review_hint (
    hint_id BIGSERIAL NOT NULL,
    project_id BIGINT,
    task_id BIGINT,
    annotation_id BIGINT,
    action VARCHAR(64) NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (hint_id)
)

CREATE TABLE review_project (
    key VARCHAR(64) NOT NULL,
    instance TEXT NOT NULL,
    project_id BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    round INTEGER NOT NULL,
    overlap INTEGER NOT NULL,
    config_sha256 VARCHAR(64) NOT NULL,
    model_version TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    is_open BOOLEAN NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (instance, project_id, key)
)

CREATE TABLE stage_run (
    run_key VARCHAR(64) NOT NULL,
    stage VARCHAR(32) NOT NULL,
    params JSON,
    inputs JSON,
    outputs JSON,
    counts JSON,
    timings JSON,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    wall_s FLOAT NOT NULL,
    PRIMARY KEY (run_key)
)

CREATE INDEX ix_stage_run_published_at ON stage_run (published_at)

CREATE INDEX ix_stage_run_stage ON stage_run (stage)

CREATE TABLE review_settlement (
    question_id VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    decision_ids JSON NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (question_id),
    FOREIGN KEY(question_id) REFERENCES question (question_id)
)

CREATE INDEX ix_review_settlement_state ON review_settlement (state)

CREATE TABLE review_task (
    question_id VARCHAR(64) NOT NULL,
    round INTEGER NOT NULL,
    asking INTEGER NOT NULL,
    project_key VARCHAR(64) NOT NULL,
    task_id BIGINT,
    state VARCHAR(16) NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    model_version TEXT NOT NULL,
    PRIMARY KEY (question_id, round, asking),
    UNIQUE (project_key, task_id),
    FOREIGN KEY(question_id) REFERENCES question (question_id),
    FOREIGN KEY(project_key) REFERENCES review_project (key)
)

CREATE INDEX ix_review_task_project_key ON review_task (project_key)

CREATE INDEX ix_review_task_state ON review_task (state)
