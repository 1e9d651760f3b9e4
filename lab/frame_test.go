package lab

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestMessagesRoundTrip(t *testing.T) {
	text := rapid.SliceOfN(rapid.Byte(), 0, 40)
	rapid.Check(t, func(t *rapid.T) {
		task := Task{Kind: string(text.Draw(t, "kind")), Payload: text.Draw(t, "payload"), Seed: rapid.Uint64().Draw(t, "seed")}
		result := Result{Payload: text.Draw(t, "answer"), Cost: rapid.Float64().Draw(t, "cost"), Err: string(text.Draw(t, "err"))}
		var pipe bytes.Buffer
		body, err := task.MarshalBinary()
		if err = errors.Join(err, writeFrame(&pipe, body), writeFrame(&pipe, encodeResult(result))); err != nil {
			t.Fatal(err)
		}
		body, err = readFrame(&pipe)
		if err != nil {
			t.Fatal(err)
		}
		var backTask Task
		if err := backTask.UnmarshalBinary(body); err != nil || !reflect.DeepEqual(backTask, task) {
			t.Fatalf("%+v, %v: want %+v", backTask, err, task)
		}
		body, err = readFrame(&pipe)
		if err != nil {
			t.Fatal(err)
		}
		var back Result
		if err := back.UnmarshalBinary(body); err != nil || !reflect.DeepEqual(back, result) {
			t.Fatalf("%+v, %v: want %+v", back, err, result)
		}
		if _, err := readFrame(&pipe); !errors.Is(err, io.EOF) {
			t.Fatalf("error %v at the end", err)
		}
	})
}

func FuzzFrame(f *testing.F) {
	task, _ := Task{Kind: "echo", Payload: []byte("x"), Seed: 1}.MarshalBinary()
	for _, body := range [][]byte{task, encodeResult(Result{Err: "e", Cost: math.Inf(1)}), nil} {
		var b bytes.Buffer
		if err := writeFrame(&b, body); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		if !bytes.Equal(body, b[4:4+len(body)]) {
			t.Fatal("the body is not what follows the length")
		}
		var task Task
		if task.UnmarshalBinary(body) == nil {
			if back, err := task.MarshalBinary(); err != nil || !bytes.Equal(back, body) {
				t.Fatalf("task %+v became %x, want %x", task, back, body)
			}
		}
		var r Result
		if r.UnmarshalBinary(body) == nil && !math.IsNaN(r.Cost) && !bytes.Equal(encodeResult(r), body) {
			t.Fatalf("result %+v became %x, want %x", r, encodeResult(r), body)
		}
	})
}

func TestFrameLimit(t *testing.T) {
	if err := writeFrame(io.Discard, make([]byte, maxFrame+1)); !errors.Is(err, errTooLarge) {
		t.Errorf("error %v", err)
	}
	if _, err := (Task{Kind: string(make([]byte, 1<<16))}).MarshalBinary(); err == nil {
		t.Error("a kind of 64 KiB was accepted")
	}
}
