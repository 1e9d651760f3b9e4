package sim

import (
	"testing"

	"pgregory.net/rapid"
)

// An index is a map from words to peers, however close the words are.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		want := map[uint64]int32{}
		words := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 20), rapid.Uint64Range(1<<64-20, 1<<64-1))
		for peer := range rapid.Int32Range(0, 200).Draw(t, "peers") {
			word := words.Draw(t, "word")
			if _, taken := want[word]; x.add(word, peer) == taken {
				t.Fatalf("word %x was taken: %v", word, taken)
			} else if !taken {
				want[word] = peer
			}
		}
		for word, peer := range want {
			if got, known := x.find(word); !known || got != peer {
				t.Fatalf("word %x is of peer %d, %v, want %d", word, got, known, peer)
			}
		}
		if word := words.Draw(t, "other"); want[word] == 0 {
			if _, taken := want[word]; !taken {
				if _, known := x.find(word); known {
					t.Fatalf("word %x is known", word)
				}
			}
		}
	})
}
