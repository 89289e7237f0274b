CREATE TABLE activity (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    activity_id VARCHAR(64) NOT NULL,
    run_id VARCHAR(600),
    task VARCHAR(300),
    attempt INTEGER NOT NULL,
    command VARCHAR(64) NOT NULL,
    started_at DATETIME NOT NULL,
    ended_at DATETIME NOT NULL,
    seconds FLOAT NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    exit_code INTEGER NOT NULL,
    error VARCHAR(64),
    state VARCHAR(32),
    items BIGINT NOT NULL,
    counts JSON,
    UNIQUE (activity_id)
)

CREATE INDEX ix_activity_run_id ON activity (run_id)

CREATE TRIGGER activity_no_update BEFORE UPDATE ON activity BEGIN SELECT RAISE(ABORT, 'activity is append-only: append what takes it back'); END

CREATE TRIGGER activity_no_delete BEFORE DELETE ON activity BEGIN SELECT RAISE(ABORT, 'activity is append-only: append what takes it back'); END

CREATE TRIGGER activity_no_replace BEFORE INSERT ON activity
        WHEN EXISTS (SELECT 1 FROM activity WHERE activity_id = NEW.activity_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'activity is append-only: append what takes it back'); END

CREATE TABLE announcement (
    seq INTEGER NOT NULL,
    what VARCHAR(32) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    run_id TEXT NOT NULL,
    announced_at DATETIME NOT NULL,
    PRIMARY KEY (seq)
)

CREATE INDEX ix_announcement_what ON announcement (what)

CREATE TABLE audit_entry (
    seq INTEGER NOT NULL,
    entry_hash VARCHAR(64) NOT NULL,
    previous_hash VARCHAR(64) NOT NULL,
    at DATETIME NOT NULL,
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

CREATE TRIGGER audit_entry_no_update BEFORE UPDATE ON audit_entry BEGIN SELECT RAISE(ABORT, 'audit_entry is append-only: append what takes it back'); END

CREATE TRIGGER audit_entry_no_delete BEFORE DELETE ON audit_entry BEGIN SELECT RAISE(ABORT, 'audit_entry is append-only: append what takes it back'); END

CREATE TRIGGER audit_entry_no_replace BEFORE INSERT ON audit_entry
        WHEN EXISTS (SELECT 1 FROM audit_entry WHERE entry_hash = NEW.entry_hash OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'audit_entry is append-only: append what takes it back'); END

CREATE TABLE audit_head (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    head_id VARCHAR(64) NOT NULL,
    entries BIGINT NOT NULL,
    entry_hash VARCHAR(64) NOT NULL,
    at DATETIME NOT NULL,
    public_key VARCHAR(64) NOT NULL,
    signature VARCHAR(128) NOT NULL,
    UNIQUE (head_id)
)

CREATE TRIGGER audit_head_no_update BEFORE UPDATE ON audit_head BEGIN SELECT RAISE(ABORT, 'audit_head is append-only: append what takes it back'); END

CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head BEGIN SELECT RAISE(ABORT, 'audit_head is append-only: append what takes it back'); END

CREATE TRIGGER audit_head_no_replace BEFORE INSERT ON audit_head
        WHEN EXISTS (SELECT 1 FROM audit_head WHERE head_id = NEW.head_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'audit_head is append-only: append what takes it back'); END

CREATE TABLE consent_event (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
    event_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    consent_id VARCHAR(128) NOT NULL,
    subject_ref VARCHAR(64) NOT NULL,
    said_at DATETIME NOT NULL,
    expires_at DATETIME,
    retain_until DATETIME,
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
    UNIQUE (event_id)
)

CREATE INDEX ix_consent_event_consent_id ON consent_event (consent_id)

CREATE INDEX ix_consent_event_subject_ref ON consent_event (subject_ref)

CREATE TRIGGER consent_event_no_update BEFORE UPDATE ON consent_event BEGIN SELECT RAISE(ABORT, 'consent_event is append-only: append what takes it back'); END

CREATE TRIGGER consent_event_no_delete BEFORE DELETE ON consent_event BEGIN SELECT RAISE(ABORT, 'consent_event is append-only: append what takes it back'); END

CREATE TRIGGER consent_event_no_replace BEFORE INSERT ON consent_event
        WHEN EXISTS (SELECT 1 FROM consent_event WHERE event_id = NEW.event_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'consent_event is append-only: append what takes it back'); END

CREATE TABLE consent_purpose (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    allowance_id VARCHAR(100) NOT NULL,
    event_id VARCHAR(64) NOT NULL,
    purpose VARCHAR(32) NOT NULL,
    UNIQUE (allowance_id)
)

CREATE INDEX ix_consent_purpose_event_id ON consent_purpose (event_id)

CREATE TRIGGER consent_purpose_no_update BEFORE UPDATE ON consent_purpose BEGIN SELECT RAISE(ABORT, 'consent_purpose is append-only: append what takes it back'); END

CREATE TRIGGER consent_purpose_no_delete BEFORE DELETE ON consent_purpose BEGIN SELECT RAISE(ABORT, 'consent_purpose is append-only: append what takes it back'); END

CREATE TRIGGER consent_purpose_no_replace BEFORE INSERT ON consent_purpose
        WHEN EXISTS (SELECT 1 FROM consent_purpose WHERE allowance_id = NEW.allowance_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'consent_purpose is append-only: append what takes it back'); END

CREATE TABLE decision (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
    decision_id VARCHAR(64) NOT NULL,
    verb VARCHAR(16) NOT NULL,
    face_id VARCHAR(64),
    other_face_id VARCHAR(64),
    identity_id VARCHAR(64),
    name TEXT,
    value TEXT,
    retracts VARCHAR(64),
    annotator TEXT NOT NULL,
    decided_at DATETIME NOT NULL,
    question_id TEXT,
    annotation_id TEXT,
    annotation_version INTEGER,
    note TEXT,
    UNIQUE (decision_id)
)

CREATE INDEX ix_decision_decided_at ON decision (decided_at)

CREATE INDEX ix_decision_face_id ON decision (face_id)

CREATE INDEX ix_decision_identity_id ON decision (identity_id)

CREATE INDEX ix_decision_other_face_id ON decision (other_face_id)

CREATE TRIGGER decision_no_update BEFORE UPDATE ON decision BEGIN SELECT RAISE(ABORT, 'decision is append-only: append what takes it back'); END

CREATE TRIGGER decision_no_delete BEFORE DELETE ON decision BEGIN SELECT RAISE(ABORT, 'decision is append-only: append what takes it back'); END

CREATE TRIGGER decision_no_replace BEFORE INSERT ON decision
        WHEN EXISTS (SELECT 1 FROM decision WHERE decision_id = NEW.decision_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'decision is append-only: append what takes it back'); END

CREATE TABLE due_mark (
    seq INTEGER NOT NULL,
    run_id VARCHAR(600) NOT NULL,
    at DATETIME NOT NULL,
    faces INTEGER NOT NULL,
    decisions INTEGER NOT NULL,
    labels_digest VARCHAR(64) NOT NULL,
    answer JSON,
    PRIMARY KEY (seq),
    UNIQUE (run_id)
)

CREATE TRIGGER due_mark_no_update BEFORE UPDATE ON due_mark BEGIN SELECT RAISE(ABORT, 'due_mark is append-only: append what takes it back'); END

CREATE TRIGGER due_mark_no_delete BEFORE DELETE ON due_mark BEGIN SELECT RAISE(ABORT, 'due_mark is append-only: append what takes it back'); END

CREATE TRIGGER due_mark_no_replace BEFORE INSERT ON due_mark
        WHEN EXISTS (SELECT 1 FROM due_mark WHERE run_id = NEW.run_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'due_mark is append-only: append what takes it back'); END

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
    asked_at DATETIME NOT NULL,
    PRIMARY KEY (erasure_id)
)

CREATE INDEX ix_erasure_state ON erasure (state)

CREATE INDEX ix_erasure_subject_ref ON erasure (subject_ref)

CREATE TABLE erasure_step (
    erasure_id VARCHAR(64) NOT NULL,
    step VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    what JSON,
    done_at DATETIME NOT NULL,
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
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
    event_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    identity_id VARCHAR(64) NOT NULL,
    other_identity_id VARCHAR(64),
    face_ids JSON NOT NULL,
    decision_ids JSON NOT NULL,
    name TEXT,
    undoes VARCHAR(64),
    annotator TEXT NOT NULL,
    happened_at DATETIME NOT NULL,
    note TEXT,
    UNIQUE (event_id)
)

CREATE INDEX ix_identity_event_happened_at ON identity_event (happened_at)

CREATE INDEX ix_identity_event_identity_id ON identity_event (identity_id)

CREATE INDEX ix_identity_event_other_identity_id ON identity_event (other_identity_id)

CREATE TRIGGER identity_event_no_update BEFORE UPDATE ON identity_event BEGIN SELECT RAISE(ABORT, 'identity_event is append-only: append what takes it back'); END

CREATE TRIGGER identity_event_no_delete BEFORE DELETE ON identity_event BEGIN SELECT RAISE(ABORT, 'identity_event is append-only: append what takes it back'); END

CREATE TRIGGER identity_event_no_replace BEFORE INSERT ON identity_event
        WHEN EXISTS (SELECT 1 FROM identity_event WHERE event_id = NEW.event_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'identity_event is append-only: append what takes it back'); END

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
    created_at DATETIME NOT NULL,
    launched_at DATETIME,
    started_at DATETIME,
    ended_at DATETIME,
    result JSON,
    message TEXT,
    PRIMARY KEY (job_id)
)

CREATE INDEX ix_job_inputs_digest ON job (inputs_digest)

CREATE TABLE lease (
    name VARCHAR(200) NOT NULL,
    token INTEGER NOT NULL,
    holder VARCHAR(200),
    expires_at DATETIME NOT NULL,
    losses INTEGER NOT NULL,
    PRIMARY KEY (name)
)

CREATE TABLE measurement (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    measurement_id VARCHAR(64) NOT NULL,
    taken INTEGER NOT NULL,
    measured_by VARCHAR(16) NOT NULL,
    name VARCHAR(64) NOT NULL,
    labels JSON,
    value FLOAT NOT NULL,
    at DATETIME NOT NULL,
    run_id VARCHAR(600),
    UNIQUE (measurement_id)
)

CREATE INDEX ix_measurement_at ON measurement (at)

CREATE INDEX ix_measurement_run_id ON measurement (run_id)

CREATE INDEX ix_measurement_taken ON measurement (taken)

CREATE TRIGGER measurement_no_update BEFORE UPDATE ON measurement BEGIN SELECT RAISE(ABORT, 'measurement is append-only: append what takes it back'); END

CREATE TRIGGER measurement_no_delete BEFORE DELETE ON measurement BEGIN SELECT RAISE(ABORT, 'measurement is append-only: append what takes it back'); END

CREATE TRIGGER measurement_no_replace BEFORE INSERT ON measurement
        WHEN EXISTS (SELECT 1 FROM measurement WHERE measurement_id = NEW.measurement_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'measurement is append-only: append what takes it back'); END

CREATE TABLE model (
    seq INTEGER NOT NULL,
    model_id VARCHAR(64) NOT NULL,
    release VARCHAR(64) NOT NULL,
    contract_id VARCHAR(64) NOT NULL,
    folder VARCHAR(300) NOT NULL,
    revision VARCHAR(64),
    params JSON,
    registered_at DATETIME NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (model_id)
)

CREATE INDEX ix_model_release ON model (release)

CREATE TRIGGER model_no_update BEFORE UPDATE ON model BEGIN SELECT RAISE(ABORT, 'model is append-only: append what takes it back'); END

CREATE TRIGGER model_no_delete BEFORE DELETE ON model BEGIN SELECT RAISE(ABORT, 'model is append-only: append what takes it back'); END

CREATE TRIGGER model_no_replace BEFORE INSERT ON model
        WHEN EXISTS (SELECT 1 FROM model WHERE model_id = NEW.model_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'model is append-only: append what takes it back'); END

CREATE TABLE model_run (
    seq INTEGER NOT NULL,
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
    at DATETIME NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (run_key)
)

CREATE INDEX ix_model_run_candidate ON model_run (candidate)

CREATE INDEX ix_model_run_stage ON model_run (stage)

CREATE TRIGGER model_run_no_update BEFORE UPDATE ON model_run BEGIN SELECT RAISE(ABORT, 'model_run is append-only: append what takes it back'); END

CREATE TRIGGER model_run_no_delete BEFORE DELETE ON model_run BEGIN SELECT RAISE(ABORT, 'model_run is append-only: append what takes it back'); END

CREATE TRIGGER model_run_no_replace BEFORE INSERT ON model_run
        WHEN EXISTS (SELECT 1 FROM model_run WHERE run_key = NEW.run_key OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'model_run is append-only: append what takes it back'); END

CREATE TABLE model_turn (
    seq INTEGER NOT NULL,
    turn_id VARCHAR(32) NOT NULL,
    turn VARCHAR(16) NOT NULL,
    model_id VARCHAR(64) NOT NULL,
    taken_back VARCHAR(32),
    "by" VARCHAR(200) NOT NULL,
    why TEXT,
    at DATETIME NOT NULL,
    evaluation VARCHAR(64) NOT NULL,
    figures JSON,
    PRIMARY KEY (seq),
    UNIQUE (turn_id)
)

CREATE INDEX ix_model_turn_model_id ON model_turn (model_id)

CREATE TRIGGER model_turn_no_update BEFORE UPDATE ON model_turn BEGIN SELECT RAISE(ABORT, 'model_turn is append-only: append what takes it back'); END

CREATE TRIGGER model_turn_no_delete BEFORE DELETE ON model_turn BEGIN SELECT RAISE(ABORT, 'model_turn is append-only: append what takes it back'); END

CREATE TRIGGER model_turn_no_replace BEFORE INSERT ON model_turn
        WHEN EXISTS (SELECT 1 FROM model_turn WHERE turn_id = NEW.turn_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'model_turn is append-only: append what takes it back'); END

CREATE TABLE pepper_check (
    ref VARCHAR(64) NOT NULL,
    PRIMARY KEY (ref)
)

CREATE TABLE profile (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    profile_id VARCHAR(64) NOT NULL,
    contract_id VARCHAR(64) NOT NULL,
    faces BIGINT NOT NULL,
    shape JSON,
    UNIQUE (profile_id)
)

CREATE INDEX ix_profile_contract_id ON profile (contract_id)

CREATE TRIGGER profile_no_update BEFORE UPDATE ON profile BEGIN SELECT RAISE(ABORT, 'profile is append-only: append what takes it back'); END

CREATE TRIGGER profile_no_delete BEFORE DELETE ON profile BEGIN SELECT RAISE(ABORT, 'profile is append-only: append what takes it back'); END

CREATE TRIGGER profile_no_replace BEFORE INSERT ON profile
        WHEN EXISTS (SELECT 1 FROM profile WHERE profile_id = NEW.profile_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'profile is append-only: append what takes it back'); END

CREATE TABLE promotion (
    seq INTEGER NOT NULL,
    promotion_id VARCHAR(32) NOT NULL,
    turn VARCHAR(16) NOT NULL,
    release VARCHAR(64) NOT NULL,
    taken_back VARCHAR(32),
    "by" VARCHAR(200) NOT NULL,
    why TEXT,
    at DATETIME NOT NULL,
    job_id VARCHAR(32),
    parameter_set VARCHAR(64) NOT NULL,
    revision VARCHAR(64),
    figures JSON,
    faces INTEGER NOT NULL,
    decisions INTEGER NOT NULL,
    labels_digest VARCHAR(64) NOT NULL,
    PRIMARY KEY (seq),
    UNIQUE (promotion_id)
)

CREATE INDEX ix_promotion_release ON promotion (release)

CREATE TRIGGER promotion_no_update BEFORE UPDATE ON promotion BEGIN SELECT RAISE(ABORT, 'promotion is append-only: append what takes it back'); END

CREATE TRIGGER promotion_no_delete BEFORE DELETE ON promotion BEGIN SELECT RAISE(ABORT, 'promotion is append-only: append what takes it back'); END

CREATE TRIGGER promotion_no_replace BEFORE INSERT ON promotion
        WHEN EXISTS (SELECT 1 FROM promotion WHERE promotion_id = NEW.promotion_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'promotion is append-only: append what takes it back'); END

CREATE TABLE question (
    question_id VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    subject TEXT NOT NULL,
    subset TEXT NOT NULL,
    reason TEXT NOT NULL,
    reason_detail TEXT NOT NULL,
    model_version TEXT NOT NULL,
    chance FLOAT NOT NULL,
    gain FLOAT NOT NULL,
    seconds FLOAT NOT NULL,
    needs INTEGER NOT NULL,
    expected TEXT,
    rank INTEGER NOT NULL,
    offered_at DATETIME NOT NULL,
    PRIMARY KEY (question_id)
)

CREATE INDEX ix_question_kind ON question (kind)

CREATE INDEX ix_question_offered_at ON question (offered_at)

CREATE TABLE review (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
    review_id VARCHAR(64) NOT NULL,
    face_id VARCHAR(64) NOT NULL,
    identity_id VARCHAR(64) NOT NULL,
    confidence FLOAT NOT NULL,
    run_id VARCHAR(64) NOT NULL,
    is_right BOOLEAN NOT NULL,
    annotator TEXT NOT NULL,
    reviewed_at DATETIME NOT NULL,
    UNIQUE (review_id)
)

CREATE INDEX ix_review_face_id ON review (face_id)

CREATE INDEX ix_review_reviewed_at ON review (reviewed_at)

CREATE INDEX ix_review_run_id ON review (run_id)

CREATE TRIGGER review_no_update BEFORE UPDATE ON review BEGIN SELECT RAISE(ABORT, 'review is append-only: append what takes it back'); END

CREATE TRIGGER review_no_delete BEFORE DELETE ON review BEGIN SELECT RAISE(ABORT, 'review is append-only: append what takes it back'); END

CREATE TRIGGER review_no_replace BEFORE INSERT ON review
        WHEN EXISTS (SELECT 1 FROM review WHERE review_id = NEW.review_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'review is append-only: append what takes it back'); END

CREATE TABLE review_annotation (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    recorded_at DATETIME DEFAULT CURRENT_TIMESTAMP NOT NULL,
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
    updated_at DATETIME NOT NULL,
    lead_time_s FLOAT,
    digest VARCHAR(64) NOT NULL,
    seen_at DATETIME NOT NULL,
    UNIQUE (project_key, unique_id, version),
    UNIQUE (version_id)
)

CREATE INDEX ix_review_annotation_question_id ON review_annotation (question_id)

CREATE TRIGGER review_annotation_no_update BEFORE UPDATE ON review_annotation BEGIN SELECT RAISE(ABORT, 'review_annotation is append-only: append what takes it back'); END

CREATE TRIGGER review_annotation_no_delete BEFORE DELETE ON review_annotation BEGIN SELECT RAISE(ABORT, 'review_annotation is append-only: append what takes it back'); END

CREATE TRIGGER review_annotation_no_replace BEFORE INSERT ON review_annotation
        WHEN EXISTS (SELECT 1 FROM review_annotation WHERE version_id = NEW.version_id OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'review_annotation is append-only: append what takes it back'); END

CREATE TABLE review_hint (
    hint_id INTEGER NOT NULL,
    project_id BIGINT,
    task_id BIGINT,
    annotation_id BIGINT,
    action VARCHAR(64) NOT NULL,
    received_at DATETIME NOT NULL,
    PRIMARY KEY (hint_id)
)

CREATE TABLE review_project (
    "key" VARCHAR(64) NOT NULL,
    instance TEXT NOT NULL,
    project_id BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    round INTEGER NOT NULL,
    overlap INTEGER NOT NULL,
    config_sha256 VARCHAR(64) NOT NULL,
    model_version TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    is_open BOOLEAN NOT NULL,
    PRIMARY KEY ("key"),
    UNIQUE (instance, project_id, "key")
)

CREATE TABLE stage_run (
    run_key VARCHAR(64) NOT NULL,
    stage VARCHAR(32) NOT NULL,
    params JSON,
    inputs JSON,
    outputs JSON,
    counts JSON,
    timings JSON,
    published_at DATETIME NOT NULL,
    wall_s FLOAT NOT NULL,
    PRIMARY KEY (run_key)
)

CREATE INDEX ix_stage_run_published_at ON stage_run (published_at)

CREATE INDEX ix_stage_run_stage ON stage_run (stage)

CREATE TABLE review_settlement (
    question_id VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    decision_ids JSON NOT NULL,
    changed_at DATETIME NOT NULL,
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
    changed_at DATETIME NOT NULL,
    model_version TEXT NOT NULL,
    PRIMARY KEY (question_id, round, asking),
    UNIQUE (project_key, task_id),
    FOREIGN KEY(question_id) REFERENCES question (question_id),
    FOREIGN KEY(project_key) REFERENCES review_project ("key")
)

CREATE INDEX ix_review_task_project_key ON review_task (project_key)

CREATE INDEX ix_review_task_state ON review_task (state)
