package shoal

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/shoalnet/shoal/node"
	"github.com/shoalnet/shoal/p2p"
	"github.com/shoalnet/shoal/table"
)

// WithMetrics registers the peer's metrics, all named shoal_*, until it is closed.
// Several peers of one process want a registerer each:
// prometheus.WrapRegistererWith(prometheus.Labels{"peer": name}, r). Those of a Dual
// have the label "part", wan or lan. To serve them is the application's part.
func WithMetrics(r prometheus.Registerer) Option { return func(c *config) { c.metrics = r } }

// WithTracing makes an OpenTelemetry span of every operation, a child of the
// caller's, with a child for each of its requests. Without it nothing is spent on
// that.
func WithTracing(p trace.TracerProvider) Option { return func(c *config) { c.peer.Tracer = p } }

// labelled tells the parts of a Dual apart.
func labelled(r prometheus.Registerer, part string) prometheus.Registerer {
	if r == nil {
		return nil
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{"part": part}, r)
}

// maxBuckets bounds the label "bucket": a network of 2^32 peers has no more.
const maxBuckets = 32

// latencyBounds are the buckets of the histogram of operations, in seconds.
var latencyBounds = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60}

// metric is a description with how it is counted.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("shoal_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("shoal_"+name+"_total", help, labels, nil), prometheus.CounterValue}
}

var (
	healthScore     = gauge("health_score", "How the peer is, 0 to 100: filled places times live share times answered share.")
	networkSize     = gauge("network_size_peers", "Estimated number of peers in the network.")
	tableFill       = gauge("table_fill_ratio", "Members of the routing table over the places that the network has peers for.")
	tableStale      = gauge("table_stale_ratio", "Share of the members that are likely gone.")
	answeredShare   = gauge("answered_ratio", "Share of our requests of the last five to ten minutes that had an answer.")
	bucketPlaces    = gauge("bucket_places", "Places of a bucket.", "bucket")
	bucketMembers   = gauge("bucket_members", "Members of a bucket.", "bucket")
	bucketSpares    = gauge("bucket_spares", "Peers known beside the members of a bucket.", "bucket")
	bucketStale     = gauge("bucket_stale_ratio", "Share of the members of a bucket that are likely gone.", "bucket")
	bucketRTT       = gauge("bucket_rtt_seconds", "Median answer time of the members of a bucket.", "bucket")
	bucketAge       = gauge("bucket_age_seconds", "Median time since the members of a bucket first answered.", "bucket")
	bucketRequests  = counter("bucket_requests", "Requests to peers of a bucket, by outcome.", "bucket", "outcome")
	operations      = counter("operations", "Operations of callers that ended, by kind and outcome.", "op", "outcome")
	operationTime   = prometheus.NewDesc("shoal_operation_duration_seconds", "Time to the final result of an operation.", []string{"op"}, nil)
	requestsSent    = counter("requests_sent", "Requests sent, by type.", "type")
	requestsServed  = counter("requests_received", "Requests that reached us, by type.", "type")
	payload         = counter("payload_bytes", "Payload of streams.", "direction")
	dials           = counter("dials", "Attempts to connect.")
	probesSpared    = counter("probes_spared", "Probes not sent, because a connection showed that the peer is there.")
	retries         = counter("retries", "Requests repeated on a fresh stream.")
	malformed       = counter("malformed", "Messages that broke the protocol.")
	refusedRequests = counter("refused", "Requests and streams turned away by a limit.")
	dropped         = counter("dropped", "What a full queue could not take.")
)

// collector tells Prometheus how a peer is when it is asked.
type collector struct{ d *DHT }

var _ prometheus.Collector = collector{}

// Describe implements prometheus.Collector.
func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range []metric{
		healthScore, networkSize, tableFill, tableStale, answeredShare, bucketPlaces, bucketMembers, bucketSpares, bucketStale, bucketRTT, bucketAge,
		bucketRequests, operations, requestsSent, requestsServed, payload, dials, probesSpared, retries, malformed, refusedRequests, dropped,
	} {
		out <- m.desc
	}
	out <- operationTime
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	put := func(m metric, x float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, x, labels...)
	}
	h := c.d.Health()
	put(healthScore, float64(h.Score))
	put(networkSize, float64(h.NetworkSize))
	put(tableFill, h.Fill)
	put(tableStale, h.Stale)
	put(answeredShare, h.Answered)
	for b, s := range c.d.buckets() {
		if b >= maxBuckets {
			break
		}
		label := strconv.Itoa(b)
		put(bucketPlaces, float64(s.Size), label)
		put(bucketMembers, float64(s.Members), label)
		put(bucketSpares, float64(s.Spares), label)
		put(bucketStale, s.Stale, label)
		put(bucketRTT, s.RTT.Median.Seconds(), label)
		put(bucketAge, s.Age.Median.Seconds(), label)
		put(bucketRequests, float64(s.Answered), label, "answered")
		put(bucketRequests, float64(s.Failed), label, "failed")
	}
	collectOperations(out, put, c.d.peer)
	collectTraffic(put, c.d.peer.Counters())
}

func collectOperations(out chan<- prometheus.Metric, put func(metric, float64, ...string), p *p2p.Peer) {
	for op, tally := range p.Tallies() {
		kind := op.String()
		put(operations, float64(tally.Count-tally.Failed), kind, "found")
		put(operations, float64(tally.Failed), kind, "failed")
		put(operations, float64(tally.Canceled), kind, "canceled")
		below := map[float64]uint64{}
		for _, bound := range latencyBounds {
			below[bound] = tally.Latency.Below(bound)
		}
		out <- prometheus.MustNewConstHistogram(operationTime, tally.Latency.Count(), tally.Latency.Sum(), below, kind)
	}
}

func collectTraffic(put func(metric, float64, ...string), n p2p.Counters) {
	for kind, count := range n.Sent {
		put(requestsSent, float64(count), kind)
	}
	for kind, count := range n.Received {
		put(requestsServed, float64(count), kind)
	}
	put(payload, float64(n.BytesIn), "in")
	put(payload, float64(n.BytesOut), "out")
	put(dials, float64(n.Dials))
	put(probesSpared, float64(n.Spared))
	put(retries, float64(n.Retries))
	put(malformed, float64(n.Malformed))
	put(refusedRequests, float64(n.Refused))
	put(dropped, float64(n.Dropped))
}

// buckets sums up the buckets of the routing table.
func (d *DHT) buckets() (stats []table.Stats) {
	now := d.peer.Time()
	d.peer.Inspect(func(n *node.Node) {
		for b := range n.Table().Buckets() {
			stats = append(stats, n.Table().Stats(now, b))
		}
	})
	return stats
}
