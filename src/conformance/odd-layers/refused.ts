import type { RefusedLayer } from './odd-layer.js'
import {
  base256,
  block,
  directory,
  END,
  file,
  gnuLong,
  hardLink,
  padded,
  pax,
  symlink,
  tar,
} from './raw-tar.js'

const LOWER = tar(directory('real'), file('real/file', 'x'), symlink('lower', 'real'))

/** Layers that fail with a typed error on every driver, and leave the store unchanged. */
export const refusedLayers: readonly RefusedLayer[] = [
  ...['../a', '/../a', 'a/../../b', '..', 'a/../..'].map((name) =>
    invalid(`a name that leads outside the root: ${name}`, file('kept', 'x'), file(name, 'x')),
  ),
  invalid('a whiteout that leads outside the root', file('../.wh.a')),
  invalid('a hard link that leads outside the root', file('a'), hardLink('b', '../../etc/passwd')),
  invalid('a hard link to a missing file', file('kept', 'x'), hardLink('b', 'missing')),
  invalid('a hard link to a later entry', hardLink('b', 'a'), file('a', 'x')),
  invalid('a hard link to a directory', directory('a'), hardLink('b', 'a')),
  invalid('a hard link to the root', hardLink('b', '/')),
  invalid('a hard link through a symlink of a lower layer', hardLink('b', 'lower/file')),
  invalid('a symlink without a target', symlink('a', '')),
  invalid('a file through circular symlinks', symlink('a', 'b'), symlink('b', 'a'), file('a/c')),
  invalid('a file below a file', file('a', 'x'), file('a/b', 'y')),
  ...['.wh.', '.wh..', '.wh...', 'd/.wh.', '.wh.a/b'].map((name) =>
    invalid(`a whiteout without a valid name: ${name}`, directory('d'), file(name)),
  ),
  invalid('a name of 256 bytes', pax([['path', 'n'.repeat(256)]]), file('short')),
  invalid('a path longer than Linux accepts', pax([['path', 'dir/'.repeat(1100)]]), directory('short')),
  corrupt('a wrong checksum', file('a', 'x', { checksum: 'wrong' })),
  corrupt('a negative size', file('a', '', { size: base256(-512, 12) })),
  corrupt('a negative PAX size', pax([['size', '-1']]), file('a')),
  corrupt('a PAX size that is not a number', pax([['size', '0x10']]), file('a')),
  corrupt('a size that is not octal', file('a', '', { size: '99999999999\0' })),
  corrupt('a size past 2^53', file('a', '', { size: base256(2n ** 60n, 12) })),
  corrupt('a PAX record with a NUL in a name', pax([['path', 'a\0b']]), file('a')),
  corrupt('a PAX record with a wrong length', file('PaxHeaders/x', '99 path=a\n', { flag: 'x' }), file('a')),
  invalid('a negative owner', file('a', '', { uid: -1 })),
  invalid('a group that Linux cannot store', pax([['gid', '4294967295']]), file('a')),
  invalid('a device number that Linux cannot store', block({ name: 'a', flag: '3', major: 4096, minor: 1 })),
  corrupt('a single block of zeros before an entry', file('a'), Buffer.alloc(512), file('b')),
  corrupt('a PAX size with a plus sign', pax([['size', '+5']]), file('a', 'abcde')),
  corrupt('a PAX owner that is not a number', pax([['uid', '12 ']]), file('a')),
  corrupt('a PAX time in hex', pax([['mtime', '0x10']]), file('a')),
  corrupt('a PAX record with a signed length', file('PaxHeaders/x', '+9 path=a\n', { flag: 'x' }), file('a')),
  corrupt('a PAX record with a blank length', file('PaxHeaders/x', ' 9 path=a\n', { flag: 'x' }), file('a')),
  corrupt('a PAX record with a hex length', file('PaxHeaders/x', '0xb path=a\n', { flag: 'x' }), file('a')),
  ...sparseMaps('has a piece past the end', 10, [8, 5], 'abcde'),
  ...sparseMaps('covers less than its content', 100, [8, 3], 'abcde'),
  ...sparseMaps('covers more than its content', 100, [8, 9], 'abcde'),
  ...sparseMaps('overlaps', 100, [8, 3, 10, 2], 'abcde'),
  ...sparseMaps('is out of order', 100, [20, 3, 10, 2], 'abcde'),
  ...['', '-1', '+1', ' 1', '1 ', '0x1', '1.0', '1e1', '#', 'text', '9'.repeat(20)].flatMap((number) => [
    invalid(`a sparse map of PAX 0.1 with the number "${number}"`, ...pax01(10, [number, 5], 'abcde')),
    invalid(`a sparse map of PAX 1.0 with the number "${number}"`, ...pax10(10, [1, number, 5], 'abcde')),
    invalid(`a sparse map of PAX 1.0 with the count "${number}"`, ...pax10(10, [number, 1, 5], 'abcde')),
  ]),
  invalid('a sparse map of PAX 1.0 with too few pieces', ...pax10(10, [2, 0, 5], 'abcde')),
  invalid('a sparse map of PAX 1.0 with a count of millions', ...pax10(10, [9_000_000, 0, 5], 'abcde')),
  invalid(
    'a sparse map in old GNU format with a negative offset',
    gnuSparse(10, [base256(-2, 12), octal(5)], 'abcde'),
  ),
  truncated('a file longer than the tar', block({ name: 'a', size: 5000 }), Buffer.alloc(600, 'x')),
  truncated('a size of terabytes', block({ name: 'a', size: 2 ** 45 }), Buffer.alloc(512)),
  truncated('a PAX header without an entry', pax([['path', 'a']])),
  truncated('a truncated long name', gnuLong('L', 'x'.repeat(600)).subarray(0, 900)),
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

/** The same invalid map in each format. */
function sparseMaps(what: string, size: number, map: readonly number[], content: string): RefusedLayer[] {
  return [
    invalid(`a sparse map of PAX 0.0 that ${what}`, ...pax00(size, map, content)),
    invalid(`a sparse map of PAX 0.1 that ${what}`, ...pax01(size, map, content)),
    invalid(`a sparse map of PAX 1.0 that ${what}`, ...pax10(size, [map.length / 2, ...map], content)),
    invalid(`a sparse map in old GNU format that ${what}`, gnuSparse(size, map.map(octal), content)),
  ]
}

type Numbers = readonly (number | string)[]

function pax00(size: number, map: readonly number[], content: string): Buffer[] {
  const records = map.map((number, at): [string, string] => [
    at % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes',
    `${number}`,
  ])
  const blocks: [string, string] = ['GNU.sparse.numblocks', `${map.length / 2}`]
  return [pax([['GNU.sparse.size', `${size}`], blocks, ...records]), file('a', content)]
}

function pax01(size: number, map: Numbers, content: string): Buffer[] {
  const records: [string, string][] = [
    ['GNU.sparse.size', `${size}`],
    ['GNU.sparse.numblocks', `${map.length / 2}`],
    ['GNU.sparse.map', map.join(',')],
  ]
  return [pax(records), file('a', content)]
}

/** The map begins with the number of its pieces. */
function pax10(size: number, map: Numbers, content: string): Buffer[] {
  const records: [string, string][] = [
    ['GNU.sparse.major', '1'],
    ['GNU.sparse.minor', '0'],
    ['GNU.sparse.name', 'a'],
    ['GNU.sparse.realsize', `${size}`],
  ]
  const head = padded(Buffer.from(`${map.join('\n')}\n`))
  return [pax(records), file('GNUSparseFile.0/a', Buffer.concat([head, Buffer.from(content)]))]
}

function gnuSparse(size: number, map: readonly string[], content: string): Buffer {
  return file('a', content, {
    flag: 'S',
    magic: 'gnu',
    over: [
      [386, map.join('')],
      [483, octal(size)],
    ],
  })
}

function octal(value: number): string {
  return `${value.toString(8).padStart(11, '0')}\0`
}
