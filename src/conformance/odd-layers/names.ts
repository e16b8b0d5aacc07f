import type { OddLayer } from './odd-layer.js'
import { block, directory, file, gnuLong, pax, symlink, tar } from './raw-tar.js'

const LONG = 'long-'.repeat(50)
const P = 'p'.repeat(77)
const Q = 'q'.repeat(77)
const STEPS = Array.from({ length: 100 }, (_, index) => `d${index}`)
const DEEP = STEPS.map((_, index) => STEPS.slice(0, index + 1).join('/'))
/** `ü` and `Å`: as one code point (NFC), and as two (NFD). */
const NFC = ['\xc3\xbc', '\xc3\x85']
const NFD = ['u\xcc\x88', 'A\xcc\x8a']

export const oddNames: readonly OddLayer[] = [
  {
    name: 'GNU long names',
    note: 'GNU tar writes names that do not fit in the header as files `././@LongLink` of types L and K.',
    layers: [
      tar(
        gnuLong('L', LONG),
        file(LONG.slice(0, 100), 'x', { magic: 'gnu' }),
        gnuLong('K', `to/${LONG}`),
        gnuLong('L', `${LONG}-link`),
        symlink('short', 'short', { magic: 'gnu' }),
      ),
    ],
    tree: [`${LONG} "x"`, `${LONG}-link -> to/${LONG}`],
  },
  {
    name: 'a chain of long names',
    note: 'If an entry has several long names, the last one counts (Go, GNU tar).',
    layers: [tar(gnuLong('L', 'first'), gnuLong('L', 'second'), file('third', 'x', { magic: 'gnu' }))],
    tree: ['second "x"'],
  },
  {
    name: 'a long name and a PAX path',
    note: 'The long name counts, as in Go.',
    layers: [tar(pax([['path', 'of-pax']]), gnuLong('L', 'of-gnu'), file('of-block', 'x', { magic: 'gnu' }))],
    tree: ['of-gnu "x"'],
  },
  {
    name: 'PAX long names',
    note: 'POSIX: path and linkpath replace the name and the link name of the header.',
    layers: [
      tar(
        directory('d'),
        pax([['path', `d/${LONG}`]]),
        file('short', 'x'),
        pax([
          ['path', `d/${LONG}-link`],
          ['linkpath', LONG],
        ]),
        symlink('short', 'short'),
      ),
    ],
    tree: ['d/', `d/${LONG} "x"`, `d/${LONG}-link -> ${LONG}`],
  },
  {
    name: 'a name split in two',
    note: 'ustar: up to 155 bytes of prefix, a slash, and up to 100 bytes of name.',
    layers: [
      tar(directory(P), directory(Q, { prefix: P }), file('n'.repeat(100), 'x', { prefix: `${P}/${Q}` })),
    ],
    tree: [`${P}/`, `${P}/${Q}/`, `${P}/${Q}/${'n'.repeat(100)} "x"`],
  },
  {
    name: 'a prefix in a GNU header',
    note: 'Written by Go before 1.8 (golang/go#12594); GNU tar stores times there.',
    layers: [
      tar(directory('go'), directory('go/old'), file('name', 'x', { magic: 'gnu', prefix: 'go/old' })),
    ],
    tree: ['go/', 'go/old/', 'go/old/name "x"'],
  },
  {
    name: 'names that are not UTF-8',
    note: 'Names are bytes, in headers and in PAX records.',
    layers: [
      tar(
        file('\xff\xfe', '1'),
        directory('\xe4'),
        symlink('\xe4/\xfc', '\xf6'),
        directory('\xc3\x28'),
        pax([['path', '\xc3\x28/\xa0']]),
        file('o', '2'),
      ),
    ],
    tree: ['\\xc3(/', '\\xc3(/\\xa0 "2"', '\\xe4/', '\\xe4/\\xfc -> \\xf6', '\\xff\\xfe "1"'],
  },
  {
    name: 'names with control characters and punctuation',
    note: 'A name may contain any byte except NUL and the slash.',
    layers: [
      tar(
        ...['a\nb', 'a\\b', 'a\tb', ' ', '-rf', '*', '"', "'", '\x7f', '\x01', '%2e', 'C:'].map((name) =>
          file(name),
        ),
      ),
    ],
    tree: [
      ...['\\x01 ""', '  ""', '" ""', '%2e ""', '\' ""', '* ""', '-rf ""'],
      ...['C: ""', 'a\\x09b ""', 'a\\x0ab ""', 'a\\x5cb ""', '\\x7f ""'],
    ],
  },
  {
    name: 'names that are nearly special',
    note: 'Only `.`, `..` and names that begin with `.wh.` have a meaning.',
    layers: [
      tar(...['...', '..a', 'a..', '.a.', '.wh', '.whx', 'x.wh.y', '.WH.a'].map((name) => file(name))),
    ],
    tree: ['... ""', '..a ""', '.WH.a ""', '.a. ""', '.wh ""', '.whx ""', 'a.. ""', 'x.wh.y ""'],
  },
  {
    name: 'names that begin with ./ and /',
    note: 'Names are cleaned: no leading slash, no `.`, no empty component; `..` removes the component before it.',
    layers: [
      tar(file('/a', '1'), file('./b', '2'), file('.//c', '3'), directory('./d'), file('d/./e/../f', '4')),
    ],
    tree: ['a "1"', 'b "2"', 'c "3"', 'd/', 'd/f "4"'],
  },
  {
    name: 'an entry for the root',
    note: 'The root is not part of a layer: its entry is skipped.',
    layers: [tar(block({ name: './', flag: '5', mode: 0o700, uid: 7 }), file('a'))],
    tree: ['a ""'],
  },
  {
    name: 'entries for the root under all its names',
    note: 'The root is not part of a layer: its entries are skipped.',
    layers: [
      tar(
        block({ name: '/', flag: '5', mode: 0o711, uid: 8 }),
        block({ name: '.', flag: '5', mode: 0o722, uid: 9 }),
        file('a'),
      ),
    ],
    tree: ['a ""'],
  },
  {
    name: 'names with a trailing slash',
    note: 'The type decides: a directory may lack the slash, and a symlink may have one. In v7, the slash makes a directory.',
    layers: [
      tar(
        block({ name: 'directory', flag: '5', mode: 0o755 }),
        block({ name: 'directory/sub//', flag: '5', mode: 0o755 }),
        symlink('link/', 'directory/'),
        block({ name: 'v7/', flag: '\0', magic: 'v7', mode: 0o755 }),
        file('v7/in', 'x', { flag: '\0', magic: 'v7' }),
      ),
    ],
    tree: ['directory/', 'directory/sub/', 'link -> directory/', 'v7/', 'v7/in "x"'],
  },
  {
    name: 'a file name with a trailing slash',
    note: 'POSIX reserves the slash for directories of v7; type 0 means a file.',
    layers: [tar(file('file/', 'x'))],
    tree: ['file "x"'],
  },
  {
    name: 'names of 255 bytes',
    note: 'The longest that Linux accepts, in ASCII and in UTF-8.',
    layers: [
      tar(
        pax([['path', 'n'.repeat(255)]]),
        file('short', '1'),
        pax([['path', `${'\xc3\xbc'.repeat(127)}n`]]),
        file('short', '2'),
      ),
    ],
    tree: [`${'n'.repeat(255)} "1"`, `${'\\xc3\\xbc'.repeat(127)}n "2"`],
  },
  {
    name: 'a whiteout of a name of 251 bytes',
    note: 'The longest that can be hidden: `.wh.` takes four bytes.',
    layers: [
      tar(file('kept'), pax([['path', 'n'.repeat(251)]]), file('short')),
      tar(pax([['path', `.wh.${'n'.repeat(251)}`]]), file('short')),
    ],
    tree: ['kept ""'],
  },
  {
    name: 'a path of 100 directories',
    note: 'Far longer than the 256 bytes of a header.',
    layers: [
      tar(
        ...DEEP.flatMap((path) => [pax([['path', path]]), directory('short')]),
        pax([['path', `${DEEP.at(-1)}/file`]]),
        file('short', 'x'),
      ),
    ],
    tree: [...DEEP.map((path) => `${path}/`), `${DEEP.at(-1)}/file "x"`],
  },
  {
    name: 'names that differ only in case',
    note: "Linux distinguishes them; Debian's manual pages have two such names.",
    layers: [
      tar(
        file('PAM.7.gz', '1'),
        file('pam.7.gz', '2'),
        directory('D'),
        directory('d'),
        file('D/a'),
        file('d/A'),
      ),
      tar(file('.wh.pam.7.gz'), file('d/.wh.A')),
    ],
    tree: ['D/', 'D/a ""', 'PAM.7.gz "1"', 'd/'],
  },
  {
    name: 'names in both Unicode forms',
    note: 'Composed and decomposed letters are different bytes, so the names are different.',
    layers: [
      tar(...[...NFC, ...NFD].map((name, index) => file(name, `${index}`))),
      tar(file(`.wh.${NFC[0]}`), file(`.wh.${NFD[1]}`)),
    ],
    tree: ['u\\xcc\\x88 "2"', '\\xc3\\x85 "1"'],
  },
]
