// Package web is Shoal's window: an HTTP API and one page that show what a
// network or a peer does, and take a person's orders. It decides nothing and
// measures nothing.
//
// What there is to see is put on a [Board] by whoever has it: parts, of which the
// last value counts, and streams, of which the last items are kept. What nobody
// puts there is absent from the page and "no_data" in the API; no figure stands
// for a missing one. A driver
//
//  1. makes a [Board] and a [Server] with [New],
//  2. fills the board from [Config.Look], which is called while somebody looks and
//     not at all otherwise,
//  3. carries out what [Config.Order] is told,
//  4. runs [Server.Serve] until its context ends: streams and requests end with it.
//
// The page is plain HTML, CSS and JavaScript, embedded, without any resource from
// elsewhere. The API is described by the document at [DescriptionPath], which is
// made from the same table of routes and the same Go types as the handlers.
//
// Strangers are kept out: bound to the loopback, the window answers only to names
// of the loopback (a page of another site cannot rebind its name to us); bound
// elsewhere, it wants a token. Requests, their bodies, the streams and what is
// kept are bounded.
package web
