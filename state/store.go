package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	_ "modernc.org/sqlite" // The driver "sqlite".
)

const (
	// leaseTime is how long an update holds its stack without a word. Pulumi's command line takes it to be five
	// minutes, whatever it is told, and renews after half of that (pkg/backend/httpstate/state.go, newUpdate).
	leaseTime = 5 * time.Minute
	// keptStates is how many earlier states of a stack are kept, for `pulumi stack export --version`.
	keptStates = 50
	// keptPreviews is for how long previews are remembered.
	keptPreviews = 7 * 24 * time.Hour
)

var (
	errNoStack  = errors.New("stack not found")
	errNoUpdate = errors.New("update not found")
	// errLeaseOver is told to an update that no longer holds its stack.
	errLeaseOver = errors.New("this update no longer holds the stack: it was cancelled, or another took its place")
	// errHasResources has the words that Pulumi's command line looks for.
	errHasResources = errors.New("Bad Request: Stack still contains resources.") //nolint:staticcheck
)

// busyError says that an update of the stack is going on.
type busyError struct{ message string }

func (e busyError) Error() string { return e.message }

// schema is applied once; user_version counts its versions.
const schema = `
CREATE TABLE tokens (
  digest BLOB PRIMARY KEY, -- SHA-256
  name TEXT NOT NULL,
  made INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE stacks (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  project TEXT NOT NULL,
  name TEXT NOT NULL,
  tags TEXT NOT NULL,
  key BLOB NOT NULL, -- of its secrets; locked by the folder's key
  version INTEGER NOT NULL DEFAULT 0,
  UNIQUE (project, name)
);
CREATE TABLE former_names ( -- which states still name where their secrets are decrypted
  project TEXT NOT NULL,
  name TEXT NOT NULL,
  stack INTEGER NOT NULL REFERENCES stacks ON DELETE CASCADE,
  PRIMARY KEY (project, name)
) WITHOUT ROWID;
CREATE TABLE updates (
  id TEXT PRIMARY KEY,
  stack INTEGER NOT NULL REFERENCES stacks ON DELETE CASCADE,
  kind TEXT NOT NULL,
  version INTEGER, -- none: a preview
  author TEXT NOT NULL,
  request TEXT NOT NULL,
  started INTEGER NOT NULL,
  ended INTEGER,
  result TEXT NOT NULL,
  lease BLOB, -- SHA-256
  expires INTEGER NOT NULL,
  process TEXT NOT NULL,
  changes TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_at_a_time ON updates (stack) WHERE ended IS NULL AND version IS NOT NULL;
CREATE INDEX by_version ON updates (stack, version);
CREATE TABLE states (
  stack INTEGER NOT NULL REFERENCES stacks ON DELETE CASCADE,
  version INTEGER NOT NULL,
  schema INTEGER NOT NULL,
  features TEXT NOT NULL,
  resources INTEGER NOT NULL,
  deployment BLOB NOT NULL, -- zstd
  PRIMARY KEY (stack, version)
);
CREATE TABLE journal (
  update_id TEXT NOT NULL REFERENCES updates ON DELETE CASCADE,
  first INTEGER NOT NULL, -- the sequence of a batch's first entry: what is sent again is known by it
  entries BLOB NOT NULL, -- as it came: gzip of JSON
  PRIMARY KEY (update_id, first)
);
PRAGMA user_version = 1;
`

// Store is the database of a folder, and its key.
type Store struct {
	db     *sql.DB
	master Box
	pack   *zstd.Encoder
	unpack *zstd.Decoder
}

// Stack is a stack without its state.
type Stack struct {
	ID            int64
	Project, Name string
	Tags          map[string]string
	Version       int
}

// Update is an update of a stack, or a preview.
type Update struct {
	ID      string
	Stack   int64
	Kind    apitype.UpdateKind
	Version sql.NullInt64
	Author  string
	Request UpdateRequest
	Started int64
	Ended   sql.NullInt64
	Result  string
	Expires int64
	Process string
	Changes map[apitype.OpType]int
}

// UpdateRequest is what history tells of an update. Secrets in the config are encrypted.
type UpdateRequest struct {
	Message     string                         `json:"message"`
	Environment map[string]string              `json:"environment"`
	Config      map[string]apitype.ConfigValue `json:"config"`
}

// OpenStore opens a folder's database; it is made where there is none.
func OpenStore(folder string) (*Store, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "state.db")
	_, err := os.Stat(file)
	master, err := openMaster(folder, errors.Is(err, fs.ErrNotExist))
	if err != nil {
		return nil, err
	}
	// The file is made first so that nobody else reads it; what SQLite puts beside it takes its mode.
	created, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := created.Close(); err != nil {
		return nil, err
	}
	// synchronous=FULL: what was answered with success is on the disk.
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)"+
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	var version int
	err = db.QueryRow("PRAGMA user_version").Scan(&version)
	switch {
	case err != nil:
	case version == 0:
		_, err = db.Exec("BEGIN IMMEDIATE;" + schema + "COMMIT")
	case version > 1:
		err = fmt.Errorf("%s was written by a later release (version %d of its tables)", file, version)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s cannot be opened: %w", file, err), db.Close())
	}
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	return &Store{db, master, pack, unpack}, err
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// change does something in one transaction.
func (s *Store) change(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func digest(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// NewToken makes an access token of somebody; it is kept as a digest only.
func (s *Store) NewToken(name string) (string, error) {
	token := "fleet-" + hex.EncodeToString(randomBytes(20))
	_, err := s.db.Exec("INSERT INTO tokens VALUES (?, ?, ?)", digest(token), name, time.Now().Unix())
	return token, err
}

// RemoveTokens takes somebody's access tokens away.
func (s *Store) RemoveTokens(name string) error {
	done, err := s.db.Exec("DELETE FROM tokens WHERE name = ?", name)
	if err != nil {
		return err
	}
	if count, err := done.RowsAffected(); err == nil && count == 0 {
		return fmt.Errorf("nobody called %s has a token", name)
	}
	return err
}

// HasTokens says whether anybody has one.
func (s *Store) HasTokens() (has bool, err error) {
	err = s.db.QueryRow("SELECT EXISTS (SELECT 1 FROM tokens)").Scan(&has)
	return has, err
}

// Owner returns whose access token it is; empty if nobody's.
func (s *Store) Owner(ctx context.Context, token string) (name string, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT name FROM tokens WHERE digest = ?", digest(token)).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return name, err
}

// purposeOf keeps a value of one stack from being opened as another's.
func purposeOf(stack int64) string { return "stack " + strconv.FormatInt(stack, 10) }

// CreateStack makes a stack, with a key of its own.
func (s *Store) CreateStack(ctx context.Context, stack Stack, state *apitype.UntypedDeployment) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		tags, _ := json.Marshal(stack.Tags)
		done, err := tx.Exec("INSERT INTO stacks (project, name, tags, key) VALUES (?, ?, ?, x'') ON CONFLICT DO NOTHING",
			stack.Project, stack.Name, tags)
		if err != nil {
			return err
		}
		if count, _ := done.RowsAffected(); count == 0 {
			return busyError{fmt.Sprintf("Stack '%s' already exists", stack.Name)}
		}
		stack.ID, _ = done.LastInsertId()
		key := s.master.Lock(randomBytes(keySize), purposeOf(stack.ID))
		_, err = tx.Exec("UPDATE stacks SET key = ? WHERE id = ?", key, stack.ID)
		if err == nil {
			_, err = tx.Exec("DELETE FROM former_names WHERE project = ? AND name = ?", stack.Project, stack.Name)
		}
		if err == nil && state != nil && state.Deployment != nil {
			err = s.saveState(tx, stack.ID, 0, *state)
		}
		return err
	})
}

const stackColumns = "id, project, name, tags, version"

func scanStack(row interface{ Scan(...any) error }) (stack Stack, err error) {
	var tags []byte
	if err = row.Scan(&stack.ID, &stack.Project, &stack.Name, &tags, &stack.Version); err == nil {
		err = json.Unmarshal(tags, &stack.Tags)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = errNoStack
	}
	return stack, err
}

// Stack looks a stack up.
func (s *Store) Stack(ctx context.Context, project, name string) (Stack, error) {
	return scanStack(s.db.QueryRowContext(ctx,
		"SELECT "+stackColumns+" FROM stacks WHERE project = ? AND name = ?", project, name))
}

// Summaries returns all stacks, with when each was last updated and how many resources it has.
func (s *Store) Summaries(ctx context.Context, keep func(Stack) bool) ([]apitype.StackSummary, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT "+stackColumns+`,
		(SELECT max(started) FROM updates WHERE stack = stacks.id AND version IS NOT NULL),
		(SELECT resources FROM states WHERE stack = stacks.id ORDER BY version DESC LIMIT 1)
		FROM stacks ORDER BY project, name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	summaries := []apitype.StackSummary{}
	for rows.Next() {
		var tags []byte
		var stack Stack
		summary := apitype.StackSummary{OrgName: organization}
		err := rows.Scan(&stack.ID, &stack.Project, &stack.Name, &tags, &stack.Version,
			&summary.LastUpdate, &summary.ResourceCount)
		if err == nil {
			err = json.Unmarshal(tags, &stack.Tags)
		}
		if err != nil {
			return nil, err
		}
		if keep(stack) {
			summary.ID, summary.ProjectName, summary.StackName = strconv.FormatInt(stack.ID, 10), stack.Project, stack.Name
			summaries = append(summaries, summary)
		}
	}
	return summaries, rows.Err()
}

// HasProject says whether a project has a stack.
func (s *Store) HasProject(ctx context.Context, project string) (has bool, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM stacks WHERE project = ?)", project).Scan(&has)
	return has, err
}

// SetTags replaces a stack's tags.
func (s *Store) SetTags(ctx context.Context, stack int64, tags map[string]string) error {
	text, _ := json.Marshal(tags)
	_, err := s.db.ExecContext(ctx, "UPDATE stacks SET tags = ? WHERE id = ?", text, stack)
	return err
}

// Rename gives a stack another name, another project or both. Secrets are still decrypted under the former name.
func (s *Store) Rename(ctx context.Context, stack Stack, project, name string) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		if err := s.free(tx, stack.ID); err != nil {
			return err
		}
		var taken bool
		err := tx.QueryRow("SELECT EXISTS (SELECT 1 FROM stacks WHERE project = ? AND name = ?)", project, name).Scan(&taken)
		if err != nil {
			return err
		}
		if taken {
			return busyError{fmt.Sprintf("Stack '%s' already exists", name)}
		}
		_, err = tx.Exec("UPDATE stacks SET project = ?, name = ? WHERE id = ?", project, name, stack.ID)
		if err == nil {
			_, err = tx.Exec("DELETE FROM former_names WHERE project = ? AND name = ?", project, name)
		}
		if err == nil {
			_, err = tx.Exec("INSERT OR REPLACE INTO former_names VALUES (?, ?, ?)", stack.Project, stack.Name, stack.ID)
		}
		return err
	})
}

// DeleteStack takes a stack away with all that is kept of it.
func (s *Store) DeleteStack(ctx context.Context, stack Stack, force bool) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		if err := s.free(tx, stack.ID); err != nil {
			return err
		}
		var resources int
		err := tx.QueryRow("SELECT resources FROM states WHERE stack = ? ORDER BY version DESC LIMIT 1", stack.ID).
			Scan(&resources)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if resources > 0 && !force {
			return errHasResources
		}
		_, err = tx.Exec("DELETE FROM stacks WHERE id = ?", stack.ID)
		return err
	})
}

// BoxOf returns the box of a stack's secrets; its former names will do.
func (s *Store) BoxOf(ctx context.Context, project, name string) (Box, string, error) {
	var id int64
	var locked []byte
	err := s.db.QueryRowContext(ctx, `SELECT id, key FROM stacks WHERE project = ?1 AND name = ?2
		UNION ALL SELECT id, key FROM stacks WHERE id = (SELECT stack FROM former_names WHERE project = ?1 AND name = ?2)
		LIMIT 1`, project, name).Scan(&id, &locked)
	if errors.Is(err, sql.ErrNoRows) {
		return Box{}, "", errNoStack
	}
	if err != nil {
		return Box{}, "", err
	}
	key, err := s.master.Unlock(locked, purposeOf(id))
	if err != nil {
		return Box{}, "", errors.New("the stack's key was locked with another `key` file than the folder has")
	}
	box, err := NewBox(key)
	return box, purposeOf(id), err
}

const updateColumns = "id, stack, kind, version, author, request, started, ended, result, expires, process, changes"

func scanUpdate(row interface{ Scan(...any) error }) (update Update, err error) {
	var request, changes []byte
	err = row.Scan(&update.ID, &update.Stack, &update.Kind, &update.Version, &update.Author, &request, &update.Started,
		&update.Ended, &update.Result, &update.Expires, &update.Process, &changes)
	if errors.Is(err, sql.ErrNoRows) {
		return update, errNoUpdate
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(request, &update.Request), json.Unmarshal(changes, &update.Changes))
	}
	return update, err
}

// IsAlive says whether an update that has not ended still holds its stack.
func (u Update) IsAlive() bool {
	return !u.Ended.Valid && time.Now().Unix() < u.Expires && !isGone(u.Process)
}

// Latest returns the update of a stack that began last; errNoUpdate if there was none. Previews do not count.
func (s *Store) Latest(ctx context.Context, stack int64) (Update, error) {
	return scanUpdate(s.db.QueryRowContext(ctx, "SELECT "+updateColumns+
		" FROM updates WHERE stack = ? AND version IS NOT NULL ORDER BY version DESC LIMIT 1", stack))
}

// Update looks an update of a stack up.
func (s *Store) Update(ctx context.Context, stack int64, id string) (Update, error) {
	return scanUpdate(s.db.QueryRowContext(ctx,
		"SELECT "+updateColumns+" FROM updates WHERE stack = ? AND id = ?", stack, id))
}

// History returns a stack's updates, the latest first; a size of 0 means all.
func (s *Store) History(ctx context.Context, stack int64, size, page int) ([]Update, error) {
	if size <= 0 {
		size, page = -1, 1
	}
	rows, err := s.db.QueryContext(ctx, "SELECT "+updateColumns+
		" FROM updates WHERE stack = ? AND version IS NOT NULL ORDER BY version DESC LIMIT ? OFFSET ?",
		stack, size, max(size, 0)*(page-1))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var updates []Update
	for rows.Next() {
		update, err := scanUpdate(rows)
		if err != nil {
			return nil, err
		}
		updates = append(updates, update)
	}
	return updates, rows.Err()
}

// Propose notes an update, or a preview, that has not begun.
func (s *Store) Propose(ctx context.Context, update Update) error {
	request, _ := json.Marshal(update.Request)
	return s.change(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM updates WHERE stack = ? AND version IS NULL AND started < ?",
			update.Stack, time.Now().Add(-keptPreviews).Unix())
		if err == nil {
			_, err = tx.Exec(`INSERT INTO updates (id, stack, kind, author, request, started, result, expires, process)
				VALUES (?, ?, ?, ?, ?, ?, ?, 0, '')`, update.ID, update.Stack, string(update.Kind), update.Author, request,
				time.Now().Unix(), string(apitype.NotStartedResult))
		}
		return err
	})
}

// Begin has an update hold its stack; a preview holds nothing. It returns the stack's version, and the lease.
func (s *Store) Begin(ctx context.Context, update Update, process string) (version int, lease string, err error) {
	lease = hex.EncodeToString(randomBytes(32))
	err = s.change(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRow("SELECT version FROM stacks WHERE id = ?", update.Stack).Scan(&version); err != nil {
			return err
		}
		var number any
		if update.Kind != apitype.PreviewUpdate {
			if err := s.free(tx, update.Stack); err != nil {
				return err
			}
			version++
			number = version
			if _, err := tx.Exec("UPDATE stacks SET version = ? WHERE id = ?", version, update.Stack); err != nil {
				return err
			}
		}
		_, err := tx.Exec("UPDATE updates SET version = ?, result = ?, lease = ?, expires = ?, process = ? WHERE id = ?",
			number, string(apitype.InProgressResult), digest(lease), time.Now().Add(leaseTime).Unix(), process, update.ID)
		return err
	})
	return version, lease, err
}

// free ends the update that holds a stack if nothing is heard of it; busyError if something is.
func (s *Store) free(tx *sql.Tx, stack int64) error {
	holder, err := scanUpdate(tx.QueryRow("SELECT "+updateColumns+
		" FROM updates WHERE stack = ? AND ended IS NULL AND version IS NOT NULL", stack))
	if errors.Is(err, errNoUpdate) {
		return nil
	}
	if err != nil {
		return err
	}
	if holder.IsAlive() {
		// Pulumi's Automation API knows an update that has to wait by the first sentence, with its mark.
		return busyError{fmt.Sprintf("Conflict: Another update is currently in progress. The stack is held by %s, %s, "+
			"since %s. If it was killed, its lease is over at %s at the latest, unless it is renewed; `pulumi cancel` "+
			"takes it away.", holder.Author, holder.Kind, clock(holder.Started), clock(holder.Expires))}
	}
	return s.settle(tx, holder, apitype.FailedResult)
}

func clock(at int64) string { return time.Unix(at, 0).UTC().Format("2006-01-02 15:04:05 UTC") }

// settle ends an update: what it wrote to the journal becomes the stack's state.
func (s *Store) settle(tx *sql.Tx, update Update, result apitype.UpdateResult) error {
	if update.Version.Valid {
		state, journaled, err := s.journaledState(tx, update)
		if err != nil {
			return fmt.Errorf("update %d of the stack cannot be ended, and its journal is kept: %w", update.Version.Int64, err)
		}
		if journaled {
			if err := s.saveState(tx, update.Stack, update.Version.Int64, state); err != nil {
				return err
			}
			if _, err := tx.Exec("DELETE FROM journal WHERE update_id = ?", update.ID); err != nil {
				return err
			}
		}
		_, err = tx.Exec(`DELETE FROM states WHERE stack = ?1 AND version NOT IN
			(SELECT version FROM states WHERE stack = ?1 ORDER BY version DESC LIMIT ?2)`, update.Stack, keptStates)
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec("UPDATE updates SET ended = ?, result = ? WHERE id = ?", time.Now().Unix(), string(result), update.ID)
	return err
}

// Cancel ends a stack's update at once, wherever it is.
func (s *Store) Cancel(ctx context.Context, update Update) error {
	return s.change(ctx, func(tx *sql.Tx) error { return s.settle(tx, update, apitype.FailedResult) })
}

// holding looks an update up that holds its stack by a lease.
func holding(tx *sql.Tx, id, lease string) (Update, error) {
	update, err := scanUpdate(tx.QueryRow("SELECT "+updateColumns+
		" FROM updates WHERE id = ? AND lease = ? AND ended IS NULL", id, digest(lease)))
	if errors.Is(err, errNoUpdate) {
		// A lease that was not renewed in time is still good, as long as nobody has taken the stack.
		err = errLeaseOver
	}
	return update, err
}

// Renew prolongs a lease.
func (s *Store) Renew(ctx context.Context, id, lease string) (expires int64, err error) {
	expires = time.Now().Add(leaseTime).Unix()
	return expires, s.change(ctx, func(tx *sql.Tx) error {
		update, err := holding(tx, id, lease)
		if err == nil {
			_, err = tx.Exec("UPDATE updates SET expires = ? WHERE id = ?", expires, update.ID)
		}
		return err
	})
}

// Append adds a batch to an update's journal. When it returns, the batch is on the disk.
func (s *Store) Append(ctx context.Context, id, lease string, first int64, entries []byte) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		update, err := holding(tx, id, lease)
		if err == nil && !update.Version.Valid {
			err = errLeaseOver
		}
		if err == nil {
			_, err = tx.Exec("INSERT INTO journal VALUES (?, ?, ?) ON CONFLICT DO NOTHING", update.ID, first, entries)
		}
		return err
	})
}

// SaveWhole makes a state the one of an update that keeps no journal.
func (s *Store) SaveWhole(ctx context.Context, id, lease string, state apitype.UntypedDeployment) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		update, err := holding(tx, id, lease)
		if err == nil && !update.Version.Valid {
			err = errLeaseOver
		}
		if err == nil {
			err = s.saveState(tx, update.Stack, update.Version.Int64, state)
		}
		return err
	})
}

// NoteChanges keeps how many resources an update changed, by what was done.
func (s *Store) NoteChanges(ctx context.Context, id, lease string, changes map[apitype.OpType]int) error {
	text, _ := json.Marshal(changes)
	_, err := s.db.ExecContext(ctx, "UPDATE updates SET changes = ? WHERE id = ? AND lease = ?", text, id, digest(lease))
	return err
}

// Complete ends an update as it says it ended. Told twice, it is done once.
func (s *Store) Complete(ctx context.Context, id, lease string, result apitype.UpdateResult) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		update, err := holding(tx, id, lease)
		if errors.Is(err, errLeaseOver) {
			var same bool
			row := tx.QueryRow("SELECT EXISTS (SELECT 1 FROM updates WHERE id = ? AND lease = ? AND result = ?)",
				id, digest(lease), string(result))
			if row.Scan(&same) == nil && same {
				return nil
			}
		}
		if err != nil {
			return err
		}
		return s.settle(tx, update, result)
	})
}

// Import makes a state the stack's, as an update of its own.
func (s *Store) Import(ctx context.Context, update Update, state apitype.UntypedDeployment) error {
	request, _ := json.Marshal(update.Request)
	return s.change(ctx, func(tx *sql.Tx) error {
		if err := s.free(tx, update.Stack); err != nil {
			return err
		}
		var version int64
		err := tx.QueryRow("UPDATE stacks SET version = version + 1 WHERE id = ? RETURNING version", update.Stack).
			Scan(&version)
		if err != nil {
			return err
		}
		now := time.Now().Unix()
		_, err = tx.Exec(`INSERT INTO updates (id, stack, kind, version, author, request, started, ended, result, expires, process)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '')`, update.ID, update.Stack, string(update.Kind), version, update.Author,
			request, now, now, string(apitype.SucceededResult))
		if err != nil {
			return err
		}
		return s.saveState(tx, update.Stack, version, state)
	})
}

// State returns a stack's state: of a version, or, with none, the latest, with what an update that goes on has done.
func (s *Store) State(ctx context.Context, stack int64, version int64) (state apitype.UntypedDeployment, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		running, err := scanUpdate(tx.QueryRow("SELECT "+updateColumns+
			" FROM updates WHERE stack = ? AND ended IS NULL AND version IS NOT NULL", stack))
		if err == nil && (version < 0 || version == running.Version.Int64) {
			state, _, err = s.journaledState(tx, running)
			return err
		}
		if err != nil && !errors.Is(err, errNoUpdate) {
			return err
		}
		if version < 0 {
			version = 1<<62 - 1
		}
		state, err = s.savedState(tx, stack, version)
		return err
	})
	return state, err
}

// journaledState returns the state that an update has come to, and whether it has written a journal.
func (s *Store) journaledState(tx *sql.Tx, update Update) (apitype.UntypedDeployment, bool, error) {
	base, err := s.savedState(tx, update.Stack, update.Version.Int64)
	if err != nil {
		return base, false, err
	}
	rows, err := tx.Query("SELECT entries FROM journal WHERE update_id = ? ORDER BY first", update.ID)
	if err != nil {
		return base, false, err
	}
	defer rows.Close()
	var entries []apitype.JournalEntry
	for rows.Next() {
		var packed []byte
		if err := rows.Scan(&packed); err != nil {
			return base, false, err
		}
		batch, err := readEntries(packed)
		if err != nil {
			return base, false, err
		}
		entries = append(entries, batch...)
	}
	if err := rows.Err(); err != nil || len(entries) == 0 {
		return base, false, err
	}
	state, err := replay(base, entries)
	return state, true, err
}

func readEntries(packed []byte) ([]apitype.JournalEntry, error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	var batch apitype.JournalEntries
	err = json.NewDecoder(unpacked).Decode(&batch)
	return batch.Entries, err
}

// saveState writes the state of one version.
func (s *Store) saveState(tx *sql.Tx, stack, version int64, state apitype.UntypedDeployment) error {
	var content struct {
		Resources []struct{} `json:"resources"`
	}
	if err := json.Unmarshal(state.Deployment, &content); err != nil {
		return fmt.Errorf("the state cannot be read: %w", err)
	}
	features, _ := json.Marshal(state.Features)
	_, err := tx.Exec("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?)", stack, version, state.Version, features,
		len(content.Resources), s.pack.EncodeAll(state.Deployment, nil))
	return err
}

// savedState reads the state that was the stack's at a version.
func (s *Store) savedState(tx *sql.Tx, stack, version int64) (state apitype.UntypedDeployment, err error) {
	var features, packed []byte
	err = tx.QueryRow(`SELECT schema, features, deployment FROM states WHERE stack = ? AND version <= ?
		ORDER BY version DESC LIMIT 1`, stack, version).Scan(&state.Version, &features, &packed)
	if errors.Is(err, sql.ErrNoRows) {
		return apitype.UntypedDeployment{
			Version:    apitype.DeploymentSchemaVersionCurrent,
			Deployment: json.RawMessage(emptyDeployment),
		}, nil
	}
	if err != nil {
		return state, err
	}
	text, err := s.unpack.DecodeAll(packed, nil)
	if err != nil {
		return state, fmt.Errorf("the state of version %d cannot be unpacked: %w", version, err)
	}
	state.Deployment = text
	return state, json.Unmarshal(features, &state.Features)
}
