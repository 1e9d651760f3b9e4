package p2p

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/shoalnet/shoal/key"
	"github.com/shoalnet/shoal/lookup"
	"github.com/shoalnet/shoal/node/kad"
)

// tracerName is how OpenTelemetry knows who made a span.
const tracerName = "github.com/shoalnet/shoal"

// beginSpan begins the span of a call. It runs on the owner.
func (p *Peer) beginSpan(ctx context.Context, number uint64, body any) {
	c, ok := body.(kad.Call)
	if p.tracer == nil || !ok {
		return
	}
	_, span := p.tracer.Start(ctx, "shoal."+c.Op.String(), trace.WithTimestamp(p.At(p.Time())),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("shoal.target", c.Target.String())))
	p.notes.spans[number] = span
}

// endSpan ends the span of an operation, with a child for each of its requests. It
// runs on the owner; to tell the requests, another goroutine runs the lookup again.
func (p *Peer) endSpan(t *kad.Trace) {
	span, ok := p.notes.spans[t.Call]
	if !ok {
		return
	}
	delete(p.notes.spans, t.Call)
	told := span.IsRecording() && p.work.Go(func() {
		p.tellRequests(span, t)
		p.finishSpan(span, t)
	})
	if !told {
		p.finishSpan(span, t)
	}
}

func (p *Peer) finishSpan(span trace.Span, t *kad.Trace) {
	span.SetAttributes(
		attribute.Bool("shoal.found", t.Found), attribute.Bool("shoal.canceled", t.Canceled),
		attribute.Int("shoal.messages", t.Stats.Messages), attribute.Int("shoal.failures", t.Stats.Failures),
		attribute.Int("shoal.hops", t.Stats.Hops),
	)
	if t.Why != "" {
		span.SetStatus(codes.Error, t.Why)
	}
	span.End(trace.WithTimestamp(p.At(t.Ended)))
}

// dropSpan ends the span of a call of which nobody will tell how it went.
func (p *Peer) dropSpan(number uint64, why string) {
	if span, ok := p.notes.spans[number]; ok {
		delete(p.notes.spans, number)
		span.SetStatus(codes.Error, why)
		span.End()
	}
}

// tellRequests adds a child span for each request of an operation.
func (p *Peer) tellRequests(parent trace.Span, t *kad.Trace) {
	ctx := trace.ContextWithSpan(context.Background(), parent)
	var steps []lookup.Step
	for _, log := range t.Logs {
		some, _, _ := log.Replay() // what there is, if not all
		steps = append(steps, some...)
	}
	for _, s := range steps {
		end := s.Ended
		if end == 0 {
			end = t.Ended
		}
		_, span := p.tracer.Start(ctx, "shoal.request", trace.WithTimestamp(p.At(s.Asked)), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("shoal.peer", p.named(s.Peer)), attribute.String("shoal.why", s.Why.String()),
			attribute.String("shoal.outcome", s.Outcome.String()), attribute.Int("shoal.hops", s.Hops),
			attribute.Int("shoal.named", len(s.Named)), attribute.Int("shoal.new", s.New),
		))
		if s.Reached > 0 {
			span.AddEvent("reached", trace.WithTimestamp(p.At(s.Reached)))
		}
		if s.Outcome == lookup.GotNothing {
			span.SetStatus(codes.Error, "no answer")
		}
		span.End(trace.WithTimestamp(p.At(end)))
	}
	for _, s := range t.Stores {
		end := s.Ended
		if end == 0 {
			end = t.Ended
		}
		_, span := p.tracer.Start(ctx, "shoal.store", trace.WithTimestamp(p.At(s.Asked)), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("shoal.peer", p.named(s.Peer)), attribute.Bool("shoal.taken", s.OK)))
		span.End(trace.WithTimestamp(p.At(end)))
	}
}

// named returns the name of a peer, or its identifier if that was forgotten.
func (p *Peer) named(id key.ID) string {
	if name, known := p.book.Peer(id); known {
		return name.String()
	}
	return id.String()
}
