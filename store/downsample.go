package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"
)

// hour is what intervals are merged into.
const hour = time.Hour

// Maintain merges intervals that are older than Raw into hours, drops what is older
// than Keep, and then the oldest until the file is as small as it must be. Call it
// now and then: once an hour is enough. It takes some milliseconds for each thousand
// intervals that have become old.
func (h *History) Maintain(ctx context.Context, now time.Time) error {
	err := h.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM intervals WHERE at < ?", now.Add(-h.cfg.Keep).UnixNano()); err != nil {
			return err
		}
		return merge(ctx, tx, now.Add(-h.cfg.Raw).Truncate(hour))
	})
	if err != nil {
		return err
	}
	return h.shrink(ctx)
}

// merge makes one row of all intervals of a metric, a configuration and an hour that
// begin before a time. What was merged is known by its time: its span tells nothing, as
// few runs fill an hour. Files of before have hours that count as full.
func merge(ctx context.Context, tx *sql.Tx, before time.Time) error {
	const where = "WHERE at >= ? AND at < ? AND span < ?"
	var done int64
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(before), ?) FROM merged", int64(math.MinInt64)).Scan(&done); err != nil {
		return err
	}
	old, err := read(ctx, tx, where+" ORDER BY config, metric, at", done, before.UnixNano(), int64(hour))
	if err != nil || len(old) == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM intervals "+where, done, before.UnixNano(), int64(hour)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO merged VALUES (1, ?)", before.UnixNano()); err != nil {
		return err
	}
	for i := 0; i < len(old); {
		whole := old[i]
		whole.At = whole.At.Truncate(hour)
		j := i + 1
		for ; j < len(old) && old[j].Config == whole.Config && old[j].Metric == whole.Metric && old[j].At.Truncate(hour).Equal(whole.At); j++ {
			whole.Sketch.Merge(&old[j].Sketch)
			whole.Span += old[j].Span
		}
		if err := insert(ctx, tx, &whole); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// shrink drops the oldest twentieth of the rows at a time while the file is too large.
func (h *History) shrink(ctx context.Context) error {
	for {
		size, err := h.Bytes(ctx)
		if err != nil || size <= h.cfg.MaxBytes {
			return err
		}
		var rows int64
		if err := h.db.QueryRowContext(ctx, "SELECT count(*) FROM intervals").Scan(&rows); err != nil {
			return fmt.Errorf("store: history: %w", err)
		}
		if rows == 0 {
			return nil
		}
		err = h.change(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM intervals WHERE rowid IN (SELECT rowid FROM intervals ORDER BY at LIMIT ?)", rows/20+1)
			return err
		})
		if err != nil {
			return err
		}
		if _, err := h.db.ExecContext(ctx, "PRAGMA incremental_vacuum"); err != nil {
			return fmt.Errorf("store: history: %w", err)
		}
	}
}

// Bytes returns the size of what is kept, pages that wait for their next use left out.
func (h *History) Bytes(ctx context.Context) (int64, error) {
	var pages, free, size int64
	for pragma, into := range map[string]*int64{"page_count": &pages, "freelist_count": &free, "page_size": &size} {
		if err := h.db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(into); err != nil {
			return 0, fmt.Errorf("store: history: %w", err)
		}
	}
	return (pages - free) * size, nil
}
