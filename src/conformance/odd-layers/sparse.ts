import type { OddLayer } from './odd-layer.js'
import { block, file, hardLink, padded, pax, tar } from './raw-tar.js'

/** A file of 100,000 bytes, most of which are holes. */
const SIZE = 100_000
const PIECES = [
  [0, 'begin'],
  [40_000, 'middle'],
  [99_997, 'end'],
] as const
const CONTENT = Buffer.from(PIECES.map(([, text]) => text).join(''))
const MAP = PIECES.flatMap(([offset, text]) => [offset, text.length])
const WHOLE = '100000 bytes 12422230'

const octal = (value: number) => `${value.toString(8).padStart(11, '0')}\0`
const gnuMap = (numbers: readonly number[]) => numbers.map(octal).join('')

export const oddSparse: readonly OddLayer[] = [
  {
    name: 'a sparse file in old GNU format',
    note: 'Type S: the map is in the header, and the content is the pieces.',
    layers: [
      tar(
        file('a', CONTENT, {
          flag: 'S',
          magic: 'gnu',
          over: [
            [386, gnuMap(MAP)],
            [483, octal(SIZE)],
          ],
        }),
        file('b', 'x'),
      ),
    ],
    tree: [`a ${WHOLE}`, 'b "x"'],
  },
  {
    name: 'a sparse file in old GNU format with more pieces than fit in the header',
    note: 'The map continues in blocks of its own.',
    layers: [tar(manyPieces(), file('b', 'x'))],
    tree: ['a 60001 bytes ffe908e5', 'b "x"'],
  },
  {
    name: 'a sparse file of PAX 0.0',
    note: 'The map is in records that repeat their keys.',
    layers: [
      tar(
        pax([
          ['GNU.sparse.size', `${SIZE}`],
          ['GNU.sparse.numblocks', `${PIECES.length}`],
          ...PIECES.flatMap(([offset, text]): [string, string][] => [
            ['GNU.sparse.offset', `${offset}`],
            ['GNU.sparse.numbytes', `${text.length}`],
          ]),
        ]),
        file('a', CONTENT),
      ),
    ],
    tree: [`a ${WHOLE}`],
  },
  {
    name: 'a sparse file of PAX 0.1',
    note: 'The map is one record, the name another.',
    layers: [
      tar(
        pax([
          ['GNU.sparse.size', `${SIZE}`],
          ['GNU.sparse.numblocks', `${PIECES.length}`],
          ['GNU.sparse.name', 'a'],
          ['GNU.sparse.map', MAP.join(',')],
        ]),
        file('GNUSparseFile.0/a', CONTENT),
      ),
    ],
    tree: [`a ${WHOLE}`],
  },
  {
    name: 'a sparse file of PAX 1.0',
    note: 'The map precedes the content, padded to a whole block.',
    layers: [
      tar(
        pax([
          ['GNU.sparse.major', '1'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.name', 'a'],
          ['GNU.sparse.realsize', `${SIZE}`],
        ]),
        file(
          'GNUSparseFile.0/a',
          Buffer.concat([padded(Buffer.from(`${[PIECES.length, ...MAP].join('\n')}\n`)), CONTENT]),
        ),
        hardLink('b', 'a'),
      ),
    ],
    tree: [`a ${WHOLE}`, 'b = a'],
  },
  {
    name: 'a file that is only a hole',
    note: 'No pieces, no content.',
    layers: [
      tar(
        pax([
          ['GNU.sparse.size', `${SIZE}`],
          ['GNU.sparse.numblocks', '0'],
          ['GNU.sparse.map', ''],
          ['GNU.sparse.major', '0'],
          ['GNU.sparse.minor', '1'],
        ]),
        file('a'),
      ),
    ],
    tree: ['a 100000 bytes 9192c25b'],
  },
]

/** 30 bytes at 30 offsets: four in the header block, 21 in a second block, five in a third. */
function manyPieces(): Buffer {
  const pieces = Array.from({ length: 30 }, (_, index) => [2000 * (index + 1), 1])
  const content = Buffer.from('0123456789'.repeat(3))
  const extension = (from: number, to: number, continues: boolean) => {
    const bytes = Buffer.alloc(512)
    bytes.write(gnuMap(pieces.slice(from, to).flat()), 'latin1')
    bytes[504] = continues ? 1 : 0
    return bytes
  }
  const header = block({
    name: 'a',
    flag: 'S',
    magic: 'gnu',
    size: content.length,
    over: [
      [386, gnuMap(pieces.slice(0, 4).flat())],
      [482, '\x01'],
      [483, octal(60_001)],
    ],
  })
  return Buffer.concat([header, extension(4, 25, true), extension(25, 30, false), padded(content)])
}
