import type { RefusedLayer } from './odd-layer.js'
import { base256, block, directory, END, file, gnuLong, hardLink, pax, symlink, tar } from './raw-tar.js'

const LOWER = tar(directory('real'), file('real/file', 'x'), symlink('lower', 'real'))

/** Layers that end in a typed error, whatever the driver, and leave a store as it was. */
export const refusedLayers: readonly RefusedLayer[] = [
  ...['../a', '/../a', 'a/../../b', '..', 'a/../..'].map((name) =>
    invalid(`a name that climbs out: ${name}`, file('kept', 'x'), file(name, 'x')),
  ),
  invalid('a whiteout that climbs out', file('../.wh.a')),
  invalid('a hard link that climbs out', file('a'), hardLink('b', '../../etc/passwd')),
  invalid('a hard link to nothing', file('kept', 'x'), hardLink('b', 'missing')),
  invalid('a hard link to a later entry', hardLink('b', 'a'), file('a', 'x')),
  invalid('a hard link to a directory', directory('a'), hardLink('b', 'a')),
  invalid('a hard link to the root', hardLink('b', '/')),
  invalid('a hard link to what a symlink of a lower layer leads to', hardLink('b', 'lower/file')),
  invalid('a symlink to nothing', symlink('a', '')),
  invalid(
    'symlinks that go round, and a file through them',
    symlink('a', 'b'),
    symlink('b', 'a'),
    file('a/c'),
  ),
  invalid('a file below a file', file('a', 'x'), file('a/b', 'y')),
  ...['.wh.', '.wh..', '.wh...', 'd/.wh.', '.wh.a/b'].map((name) =>
    invalid(`a whiteout of no name: ${name}`, directory('d'), file(name)),
  ),
  invalid('a name of 256 bytes', pax([['path', 'n'.repeat(256)]]), file('short')),
  invalid('a path longer than Linux takes', pax([['path', 'dir/'.repeat(1100)]]), directory('short')),
  corrupt('a checksum that does not hold', file('a', 'x', { checksum: 'wrong' })),
  corrupt('a size below zero', file('a', '', { size: base256(-512, 12) })),
  corrupt('a PAX size below zero', pax([['size', '-1']]), file('a')),
  corrupt('a PAX size that is no number', pax([['size', '0x10']]), file('a')),
  corrupt('a size that is not octal', file('a', '', { size: '99999999999\0' })),
  corrupt('a size past 2^53', file('a', '', { size: base256(2n ** 60n, 12) })),
  corrupt('a PAX record with a NUL in a name', pax([['path', 'a\0b']]), file('a')),
  corrupt('a PAX record with a wrong length', file('PaxHeaders/x', '99 path=a\n', { flag: 'x' }), file('a')),
  corrupt('a PAX header of 2 MiB', block({ name: 'x', flag: 'x', size: 2 ** 21 })),
  corrupt('a lone block of zeros before an entry', file('a'), Buffer.alloc(512), file('b')),
  corrupt(
    'a sparse file with data past its end',
    pax([
      ['GNU.sparse.size', '10'],
      ['GNU.sparse.numblocks', '1'],
      ['GNU.sparse.map', '8,5'],
    ]),
    file('a', 'abcde'),
  ),
  corrupt(
    'a sparse file whose map does not fit its content',
    pax([
      ['GNU.sparse.size', '100'],
      ['GNU.sparse.numblocks', '1'],
      ['GNU.sparse.map', '8,3'],
    ]),
    file('a', 'abcde'),
  ),
  truncated('a file longer than the tar', block({ name: 'a', size: 5000 }), Buffer.alloc(600, 'x')),
  truncated('a size of terabytes', block({ name: 'a', size: 2 ** 45 }), Buffer.alloc(512)),
  truncated('a PAX header without an entry', pax([['path', 'a']])),
  truncated('a long name that breaks off', gnuLong('L', 'x'.repeat(600)).subarray(0, 900)),
  truncated('half a header', file('a').subarray(0, 300)),
]

function invalid(name: string, ...pieces: readonly Buffer[]): RefusedLayer {
  return { name, layers: [LOWER, Buffer.concat([...pieces, END])], code: 'LAYER_INVALID' }
}

function corrupt(name: string, ...pieces: readonly Buffer[]): RefusedLayer {
  return { name, layers: [Buffer.concat([file('before', 'x'), ...pieces, END])], code: 'ARCHIVE_CORRUPT' }
}

function truncated(name: string, ...pieces: readonly Buffer[]): RefusedLayer {
  return { name, layers: [Buffer.concat([file('before', 'x'), ...pieces])], code: 'ARCHIVE_TRUNCATED' }
}
