// Checks a log exported as static tiles with the Go project's own libraries: sumdb/note and sumdb/tlog.
//
//	gocheck VKEY DIR     DIR holds checkpoint, tile/<level>/..., tile/entries/..., and perhaps heads/<size>
//
// Every entry must be proven under the signed checkpoint by the tiles, and every other head must be a prefix.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tiles struct{ dir string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		raw, err := os.ReadFile(filepath.Join(t.dir, path(tile)))
		if err != nil {
			return nil, err
		}
		found = append(found, raw)
	}
	return found, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// path is the C2SP form of the tile's path: without the height, entries for data.
func path(tile tlog.Tile) string {
	return strings.Replace(strings.Replace(tile.Path(), "tile/8/", "tile/", 1), "tile/data/", "tile/entries/", 1)
}

func head(file string, verifier note.Verifier) (tlog.Tree, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("%s: %w", file, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("%s: not a checkpoint of %s", file, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("%s: %w", file, err)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, fmt.Errorf("%s: root %q", file, lines[2])
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree, nil
}

func entries(dir string, n int64) ([][]byte, error) {
	var found [][]byte
	for int64(len(found)) < n {
		tile := tlog.Tile{H: 8, L: -1, N: int64(len(found)) / 256, W: 256}
		if left := n - int64(len(found)); left < 256 {
			tile.W = int(left)
		}
		raw, err := os.ReadFile(filepath.Join(dir, path(tile)))
		if err != nil {
			return nil, err
		}
		for i := 0; i < tile.W; i++ {
			if len(raw) < 2 || len(raw) < 2+int(binary.BigEndian.Uint16(raw)) {
				return nil, fmt.Errorf("%s: cut short", path(tile))
			}
			size := int(binary.BigEndian.Uint16(raw))
			found, raw = append(found, raw[2:2+size]), raw[2+size:]
		}
		if len(raw) > 0 {
			return nil, fmt.Errorf("%s: %d bytes too many", path(tile), len(raw))
		}
	}
	return found, nil
}

func check(vkey, dir string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	tree, err := head(filepath.Join(dir, "checkpoint"), verifier)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, tiles{dir})
	records, err := entries(dir, tree.N)
	if err != nil {
		return err
	}
	for n, record := range records {
		proof, err := tlog.ProveRecord(tree.N, int64(n), hashes)
		if err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(n), tlog.RecordHash(record)); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
	}
	others, _ := filepath.Glob(filepath.Join(dir, "heads", "*"))
	for _, file := range others {
		old, err := head(file, verifier)
		if err != nil {
			return err
		}
		if old.N == 0 {
			continue // the empty tree is a prefix of every tree, and has no proof
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	fmt.Printf("verified: %d entries, %d heads\n", tree.N, len(others))
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gocheck VKEY DIR")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
