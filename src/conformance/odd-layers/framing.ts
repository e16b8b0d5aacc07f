import type { OddLayer } from './odd-layer.js'
import { block, directory, END, file, gnuLong, MTIME, padded, pax, tar } from './raw-tar.js'

const GLOBAL = [
  ['comment', '0123456789'],
  ['mtime', '5'],
  ['uid', '7'],
] as const

export const oddFraming: readonly OddLayer[] = [
  {
    name: 'a layer with only an end marker',
    note: 'The empty tar: 1024 zeros.',
    layers: [tar(file('a', 'x')), END],
    tree: ['a "x"'],
  },
  {
    name: 'a layer of zero bytes',
    note: 'A tar may lack its end marker, so this is a tar without entries.',
    layers: [tar(file('a', 'x')), Buffer.alloc(0)],
    tree: ['a "x"'],
  },
  {
    name: 'no end marker',
    note: 'A tar may end after any entry (Go).',
    layers: [file('a', 'x')],
    tree: ['a "x"'],
  },
  {
    name: 'half an end marker',
    note: 'GNU tar warns; all readers accept it.',
    layers: [Buffer.concat([file('a', 'x'), Buffer.alloc(512)])],
    tree: ['a "x"'],
  },
  {
    name: 'no padding after the last file',
    note: 'A tar may end inside the padding (Go).',
    layers: [file('a', 'x').subarray(0, 513)],
    tree: ['a "x"'],
  },
  {
    name: 'zeros after the end marker',
    note: 'Tars are padded to records of 10,240 bytes; the DiffID covers all of it.',
    layers: [Buffer.concat([file('a', 'x'), Buffer.alloc(10_240 - 1024)])],
    tree: ['a "x"'],
  },
  {
    name: 'garbage after the end marker',
    note: 'It is not read as tar, but it is part of the layer: the DiffID covers it.',
    layers: [Buffer.concat([tar(file('a', 'x')), Buffer.alloc(3001, 0xa5)])],
    tree: ['a "x"'],
  },
  {
    name: 'another tar after the end marker',
    note: 'Bytes after the marker are not read as entries.',
    layers: [Buffer.concat([tar(file('a', 'x')), tar(file('b', 'y'))])],
    tree: ['a "x"'],
  },
  {
    name: 'padding that is not zeros',
    note: 'It is ignored, and saved as it was.',
    layers: [Buffer.concat([block({ name: 'a', size: 1 }), Buffer.from('x'), Buffer.alloc(511, '!'), END])],
    tree: ['a "x"'],
  },
  {
    name: 'headers of every format',
    note: 'v7 has no magic, star has its own, and GNU has another.',
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
    note: "Sun's old tar summed signed characters.",
    layers: [tar(file('a\xe4', 'x', { checksum: 'signed' }))],
    tree: ['a\\xe4 "x"'],
  },
  {
    name: 'times in a GNU header',
    note: 'GNU tar stores access and change times where ustar has its prefix.',
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
    name: 'a PAX size that differs from the header',
    note: 'The record counts: a reader that ignores it misreads the rest.',
    layers: [tar(pax([['size', '7']]), file('a', 'content', { size: 3 }), file('b', 'x'))],
    tree: ['a "content"', 'b "x"'],
  },
  {
    name: 'a global PAX header',
    note: 'git archive writes one with the commit ID; skipped with all of its records, as in Docker.',
    layers: [tar(pax(GLOBAL, 'g', 'pax_global_header'), file('a', 'x'), file('b', 'y'))],
    tree: ['a "x"', 'b "y"'],
  },
  {
    name: 'two global PAX headers',
    note: 'Both are skipped; their name applies to no entry.',
    layers: [tar(pax(GLOBAL, 'g'), file('a', 'x'), pax(GLOBAL, 'g'), file('b', 'y'))],
    tree: ['a "x"', 'b "y"'],
  },
  {
    name: 'unusual PAX records',
    note: 'Unknown keys are skipped; the last of two equal keys counts; an empty value means no value.',
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
    name: 'consecutive PAX headers',
    note: 'Only the last one counts (Go).',
    layers: [tar(pax([['path', 'first']]), pax([['mtime', '5']]), file('block', 'x'))],
    tree: ['block at 5 "x"'],
  },
  {
    name: 'a PAX header before the end marker',
    note: 'It applies to no entry.',
    layers: [tar(file('a', 'x'), pax([['comment', 'for nobody']]))],
    tree: ['a "x"'],
  },
  {
    name: 'an empty PAX header',
    note: 'It changes nothing.',
    layers: [tar(pax([]), file('a', 'x'))],
    tree: ['a "x"'],
  },
  {
    name: 'unknown types',
    note: 'Skipped with their content, except 7, which is a plain file. Labels, volume parts and sockets have such types.',
    layers: [
      tar(
        ...[file('a', 'xx', { flag: 'Z' }), file('b', 'yy', { flag: '7' }), file('c', '', { flag: 'V' })],
        ...[file('d', 'zz', { flag: 's' }), file('e', 'pp', { flag: 'Q' }), file('f', 'kept')],
      ),
    ],
    tree: ['b "yy"', 'f "kept"'],
  },
  {
    name: 'a directory with a size',
    note: 'GNU tar uses the size of directories for other purposes; no content follows (Go).',
    layers: [tar(directory('dir', { size: 4096 }), file('dir/a', 'x'))],
    tree: ['dir/', 'dir/a "x"'],
  },
  {
    name: 'a long name before the end marker',
    note: 'It applies to no entry.',
    layers: [tar(file('a', 'x'), gnuLong('L', 'nobody'))],
    tree: ['a "x"'],
  },
  {
    name: 'files of whole blocks, and empty files',
    note: 'They have no padding.',
    layers: [
      tar(file('a', 'a'.repeat(512)), file('b'), file('c', padded(Buffer.from('c')).subarray(0, 511))),
    ],
    tree: ['a 512 bytes 471be655', 'b ""', 'c 511 bytes 83b8b700'],
  },
]
