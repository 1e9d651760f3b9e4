package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/shoalnet/shoal/stat"
)

// History keeps what was measured, interval by interval, in an SQLite file. Intervals
// that are old are merged into hours, and hours that are old go: what is kept is
// bounded in age and in bytes. It may be used concurrently.
type History struct {
	db  *sql.DB
	cfg HistoryConfig
}

// HistoryConfig says how much is kept. 0 takes the default that is named.
type HistoryConfig struct {
	Raw      time.Duration // for how long intervals are kept as they were: 90 days
	Keep     time.Duration // for how long hours are kept: two years
	MaxBytes int64         // of the file, at least 1 MiB: 1 GiB. The oldest go first
}

func (c *HistoryConfig) complete() error {
	const day = 24 * time.Hour
	if c.Raw == 0 {
		c.Raw = 90 * day
	}
	if c.Keep == 0 {
		c.Keep = 2 * 365 * day
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.Raw < 0 || c.Keep < c.Raw || c.MaxBytes < 1<<20 {
		return fmt.Errorf("store: history %+v: want ages of 0 or more, hours kept longer than intervals, and a MiB or more", *c)
	}
	return nil
}

// HistoryName is the file of a history in a data directory.
const HistoryName = "history.sqlite"

// Interval is a metric of one configuration in one interval.
type Interval struct {
	At     time.Time     // its begin
	Span   time.Duration // above 0; of what was merged the sum, which need not fill its hour
	Config string        // hash
	Metric string
	Sketch stat.Sketch // of the single numbers; of a rate or a level, the one number
}

const schema = `
CREATE TABLE IF NOT EXISTS intervals (
	at INTEGER NOT NULL, span INTEGER NOT NULL, config TEXT NOT NULL, metric TEXT NOT NULL, sketch BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS intervals_at ON intervals (at);
CREATE INDEX IF NOT EXISTS intervals_config ON intervals (config, metric, at);
CREATE TABLE IF NOT EXISTS merged (id INTEGER PRIMARY KEY CHECK (id = 1), before INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS configs (hash TEXT PRIMARY KEY, text TEXT NOT NULL, first INTEGER NOT NULL, promoted INTEGER);
`

// OpenHistory opens the history at path, and makes one where there is none; its
// directory must exist. A file that SQLite finds damaged is an error and is left as it
// is.
func OpenHistory(ctx context.Context, path string, cfg HistoryConfig) (*History, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: history: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=auto_vacuum(INCREMENTAL)")
	if err != nil {
		return nil, fmt.Errorf("store: history: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer; its own queue is shorter than a pool's errors
	h := &History{db: db, cfg: cfg}
	var sound string
	if err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&sound); err == nil && sound != "ok" {
		err = errors.New(sound)
	}
	if err == nil {
		_, err = db.ExecContext(ctx, schema)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: history %s: %w: restore the file, or move it away to begin anew", path, err), db.Close())
	}
	return h, nil
}

// Close closes the file.
func (h *History) Close() error { return h.db.Close() }

// Add writes intervals together. One without numbers is left out.
func (h *History) Add(ctx context.Context, intervals ...Interval) error {
	return h.change(ctx, func(tx *sql.Tx) error {
		for i := range intervals {
			if intervals[i].Sketch.Count() == 0 {
				continue
			}
			if err := insert(ctx, tx, &intervals[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func insert(ctx context.Context, tx *sql.Tx, v *Interval) error {
	data, err := v.Sketch.MarshalBinary()
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO intervals VALUES (?, ?, ?, ?, ?)", v.At.UnixNano(), int64(v.Span), v.Config, v.Metric, data)
	return err
}

// change runs a transaction.
func (h *History) change(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := h.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: history: %w", err)
	}
	if err := f(tx); err != nil {
		return errors.Join(fmt.Errorf("store: history: %w", err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: history: %w", err)
	}
	return nil
}

// Configured notes a configuration that runs, and that it was promoted if it was.
func (h *History) Configured(ctx context.Context, at time.Time, hash, text string, promoted bool) error {
	return h.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO configs VALUES (?, ?, ?, NULL)", hash, text, at.UnixNano()); err != nil || !promoted {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE configs SET promoted = ? WHERE hash = ?", at.UnixNano(), hash)
		return err
	})
}

// StoredConfig is a configuration that ran.
type StoredConfig struct {
	Hash     string
	Text     string
	First    time.Time
	Promoted time.Time // zero if it was not
}

// Configs returns the configurations in the order in which they came.
func (h *History) Configs(ctx context.Context) (out []StoredConfig, err error) {
	rows, err := h.db.QueryContext(ctx, "SELECT hash, text, first, promoted FROM configs ORDER BY first, hash")
	if err != nil {
		return nil, fmt.Errorf("store: history: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var c StoredConfig
		var first int64
		var promoted sql.NullInt64
		if err := rows.Scan(&c.Hash, &c.Text, &first, &promoted); err != nil {
			return nil, fmt.Errorf("store: history: %w", err)
		}
		c.First = time.Unix(0, first)
		if promoted.Valid {
			c.Promoted = time.Unix(0, promoted.Int64)
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// Intervals returns those of a configuration that begin from from on and before to,
// oldest first; metric empty means all.
func (h *History) Intervals(ctx context.Context, config, metric string, from, to time.Time) (out []Interval, err error) {
	err = h.change(ctx, func(tx *sql.Tx) (err error) {
		out, err = read(ctx, tx, "WHERE config = ? AND (metric = ? OR ? = '') AND at >= ? AND at < ? ORDER BY at, metric", config, metric, metric, from.UnixNano(), to.UnixNano())
		return err
	})
	return out, err
}

func read(ctx context.Context, tx *sql.Tx, where string, args ...any) (out []Interval, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT at, span, config, metric, sketch FROM intervals "+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var v Interval
		var at, span int64
		var data []byte
		if err := rows.Scan(&at, &span, &v.Config, &v.Metric, &data); err != nil {
			return nil, err
		}
		if err := v.Sketch.UnmarshalBinary(data); err != nil {
			return nil, err
		}
		v.At, v.Span = time.Unix(0, at), time.Duration(span)
		out = append(out, v)
	}
	return out, rows.Err()
}
