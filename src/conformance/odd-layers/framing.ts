import type { OddLayer } from './odd-layer.js'
import { block, directory, END, file, gnuLong, MTIME, padded, pax, tar } from './raw-tar.js'

const GLOBAL = [
  ['comment', '0123456789'],
  ['mtime', '5'],
  ['uid', '7'],
] as const

export const oddFraming: readonly OddLayer[] = [
  {
    name: 'a layer of an end marker alone',
    note: 'The empty tar: 1024 zeros.',
    layers: [tar(file('a', 'x')), END],
    tree: ['a "x"'],
  },
  {
    name: 'a layer of no bytes',
    note: 'A tar may lack its end marker, so this is one without entries.',
    layers: [tar(file('a', 'x')), Buffer.alloc(0)],
    tree: ['a "x"'],
  },
  {
    name: 'no end marker',
    note: 'A tar may end at the border of an entry (Go).',
    layers: [file('a', 'x')],
    tree: ['a "x"'],
  },
  {
    name: 'one block of an end marker',
    note: 'GNU tar warns of it, all readers take it.',
    layers: [Buffer.concat([file('a', 'x'), Buffer.alloc(512)])],
    tree: ['a "x"'],
  },
  {
    name: 'no padding behind the last file',
    note: 'A tar may end inside the padding (Go).',
    layers: [file('a', 'x').subarray(0, 513)],
    tree: ['a "x"'],
  },
  {
    name: 'zeros behind the end marker',
    note: 'Tars are filled up to records of 10,240 bytes; the DiffID counts all of it.',
    layers: [Buffer.concat([file('a', 'x'), Buffer.alloc(10_240 - 1024)])],
    tree: ['a "x"'],
  },
  {
    name: 'garbage behind the end marker',
    note: 'It is not read as tar, but is part of the layer: the DiffID counts it.',
    layers: [Buffer.concat([tar(file('a', 'x')), Buffer.alloc(3001, 0xa5)])],
    tree: ['a "x"'],
  },
  {
    name: 'another tar behind the end marker',
    note: 'What stands behind the marker is no entry.',
    layers: [Buffer.concat([tar(file('a', 'x')), tar(file('b', 'y'))])],
    tree: ['a "x"'],
  },
  {
    name: 'padding that is no zeros',
    note: 'Nobody reads it; it comes back as it was.',
    layers: [Buffer.concat([block({ name: 'a', size: 1 }), Buffer.from('x'), Buffer.alloc(511, '!'), END])],
    tree: ['a "x"'],
  },
  {
    name: 'headers of every format',
    note: 'v7 has no magic, star has its own, GNU another.',
    layers: [
      tar(
        ...(['v7', 'ustar', 'star', 'gnu'] as const).map((magic) => file(magic, 'x', { magic })),
        block({ name: 'old/', flag: '\0', magic: 'v7', mode: 0o755 }),
      ),
    ],
    tree: ['gnu "x"', 'old/', 'star "x"', 'ustar "x"', 'v7 "x"'],
  },
  {
    name: 'checksums of signed bytes',
    note: "Sun's old tar added up signed characters.",
    layers: [tar(file('a\xe4', 'x', { checksum: 'signed' }))],
    tree: ['a\\xe4 "x"'],
  },
  {
    name: 'times in a GNU header',
    note: 'GNU keeps the times of access and change where ustar has its prefix.',
    layers: [
      tar(
        file('a', 'x', {
          magic: 'gnu',
          over: [
            [345, `${(MTIME + 1).toString(8)}\0`],
            [357, `${(MTIME + 2).toString(8)}\0`],
          ],
        }),
      ),
    ],
    tree: ['a "x"'],
  },
  {
    name: 'a PAX size that is not the one of the block',
    note: 'The record counts: readers that know none would go astray.',
    layers: [tar(pax([['size', '7']]), file('a', 'content', { size: 3 }), file('b', 'x'))],
    tree: ['a "content"', 'b "x"'],
  },
  {
    name: 'a global PAX header',
    note: 'git archive writes one with the commit; passed over, as Docker does, whatever it says.',
    layers: [tar(pax(GLOBAL, 'g', 'pax_global_header'), file('a', 'x'), file('b', 'y'))],
    tree: ['a "x"', 'b "y"'],
  },
  {
    name: 'two global PAX headers',
    note: "Passed over, both; their name is nobody's.",
    layers: [tar(pax(GLOBAL, 'g'), file('a', 'x'), pax(GLOBAL, 'g'), file('b', 'y'))],
    tree: ['a "x"', 'b "y"'],
  },
  {
    name: 'PAX records of odd kinds',
    note: 'Unknown keys are passed over; of two with one key the last counts; an empty value is as good as none.',
    layers: [
      tar(
        pax([
          ['comment', 'none\nneeded'],
          ['hdrcharset', 'BINARY'],
          ['charset', 'ISO-IR 10646 2000 UTF-8'],
          ['VENDOR.key', '\0\xff'],
          ['RHT.security.selinux', 'system_u:object_r:bin_t:s0'],
          ['path', 'first'],
          ['path', 'second'],
          ['uid', ''],
        ]),
        file('third', 'x', { uid: 5 }),
      ),
    ],
    tree: ['second owner 5:0 "x"'],
  },
  {
    name: 'PAX headers one after the other',
    note: 'The last one alone counts (Go).',
    layers: [tar(pax([['path', 'first']]), pax([['mtime', '5']]), file('block', 'x'))],
    tree: ['block at 5 "x"'],
  },
  {
    name: 'a PAX header for nobody',
    note: 'Before the end marker it belongs to no entry.',
    layers: [tar(file('a', 'x'), pax([['comment', 'for nobody']]))],
    tree: ['a "x"'],
  },
  {
    name: 'a PAX header without records',
    note: 'Nothing is changed by it.',
    layers: [tar(pax([]), file('a', 'x'))],
    tree: ['a "x"'],
  },
  {
    name: 'types that nobody knows',
    note: 'Passed over with their content; 7 is a plain file. Labels, other volumes and sockets are of such types.',
    layers: [
      tar(
        ...[file('a', 'xx', { flag: 'Z' }), file('b', 'yy', { flag: '7' }), file('c', '', { flag: 'V' })],
        ...[file('d', 'zz', { flag: 's' }), file('e', 'pp', { flag: 'Q' }), file('f', 'kept')],
      ),
    ],
    tree: ['b "yy"', 'f "kept"'],
  },
  {
    name: 'directories and links with a size',
    note: 'GNU tar gives directories one for other ends; there is no content behind it (Go).',
    layers: [tar(directory('dir', { size: 4096 }), file('dir/a', 'x'))],
    tree: ['dir/', 'dir/a "x"'],
  },
  {
    name: 'a long name for nobody',
    note: 'Before the end marker it belongs to no entry.',
    layers: [tar(file('a', 'x'), gnuLong('L', 'nobody'))],
    tree: ['a "x"'],
  },
  {
    name: 'files of whole blocks, and of none',
    note: 'There is no padding behind them.',
    layers: [
      tar(file('a', 'a'.repeat(512)), file('b'), file('c', padded(Buffer.from('c')).subarray(0, 511))),
    ],
    tree: ['a 512 bytes 471be655', 'b ""', 'c 511 bytes 83b8b700'],
  },
]
