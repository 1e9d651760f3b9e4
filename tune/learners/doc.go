// Package learners has several learners race for a better configuration in one study:
// what the race of optimizers recommends, deep Q-learning, an evolution strategy,
// Bayesian optimization, a bandit over a menu, successive halving, and nobody, who stays
// with what runs. Each may have the same number of measurements, with the same seeds.
//
// The least of many noisy scores is no estimate, so nothing that a learner saw is
// reported as a gain. What each hands in is measured again to choose the winner, and
// the winner once more, on seeds that nothing has seen, beside what runs, to say by how
// much: as an interval.
//
// What its driver must do:
//
//  1. Call [Race.Ask] until it returns false, measure every Trial, and Tell all of them.
//     The order of the Tells does not matter: each learner has one trial open at a time.
//  2. Repeat until [Race.Done].
//
// It is pure: the same seed and outcomes give the same race.
package learners
