import type { OddLayer } from './odd-layer.js'
import { block, directory, file, pax, symlink, tar } from './raw-tar.js'

const BINARY = '\0\xff\xfe\n= =\n17 a=b\n\0'
/** A version 2 capability: effective, net_raw. */
const CAPABILITY = `\x01\0\0\x02\0\x20\0\0${'\0'.repeat(12)}`
/** Version 2; user::rw-, user:12:rwx, group::r--, mask::rwx, other::r--. */
const ACL = [
  [1, 6],
  [2, 7, 12],
  [4, 4],
  [16, 7],
  [32, 4],
]
  .map(([tag, permissions, id = 0xffff_ffff]) => {
    const entry = Buffer.alloc(8)
    entry.writeUInt16LE(tag as number, 0)
    entry.writeUInt16LE(permissions as number, 2)
    entry.writeUInt32LE(id, 4)
    return entry.toString('latin1')
  })
  .reduce((list, entry) => list + entry, '\x02\0\0\0')
const shown = (text: string) =>
  text.replaceAll(/[^ -~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`)

export const oddAttributes: readonly OddLayer[] = [
  {
    name: 'numbers in base 256',
    note: 'GNU tar and star use it for numbers that do not fit in octal digits.',
    layers: [
      tar(
        file('a', 'x', { uid: 3_000_000, gid: 4_000_000_000, magic: 'gnu' }),
        file('b', 'x', { mtime: -1_500_000_000, magic: 'gnu' }),
        file('c', 'x', { mtime: 9_000_000_000, magic: 'gnu' }),
        file('d', 'content', { size: '\x80\0\0\0\0\0\0\0\0\0\0\x07', magic: 'gnu' }),
        block({ name: 'e', flag: '3', major: 4095, minor: 1_048_575, magic: 'gnu' }),
      ),
    ],
    tree: [
      ...['a owner 3000000:4000000000 "x"', 'b at -1500000000 "x"', 'c at 9000000000 "x"', 'd "content"'],
      'e char 4095:1048575',
    ],
  },
  {
    name: 'numbers in PAX records',
    note: 'They replace the numbers of the header.',
    layers: [
      tar(
        pax([
          ['uid', '4294967294'],
          ['gid', '2097152'],
          ['size', '5'],
          ['mtime', '1000000001.25'],
        ]),
        file('a', 'xxxxx', { size: 0, uid: 1, gid: 1 }),
      ),
    ],
    tree: ['a owner 4294967294:2097152 at 1000000001.250000000 "xxxxx"'],
  },
  {
    name: 'device numbers in PAX records',
    note: 'star writes them; Go reads only those of the header.',
    layers: [
      tar(
        pax([
          ['SCHILY.devmajor', '300'],
          ['SCHILY.devminor', '70000'],
        ]),
        block({ name: 'a', flag: '4', major: 7, minor: 1 }),
      ),
    ],
    tree: ['a block 300:70000'],
  },
  {
    name: 'blank and padded numbers',
    note: 'Fields may be empty, begin with spaces, and end in a space, a NUL or nothing.',
    layers: [
      tar(
        file('a', 'x', { uid: ' '.repeat(8), gid: '', mtime: '' }),
        file('b', 'x', { mode: '  600 \0 ', uid: '00000017', gid: '17 \0\0\0\0\0' }),
      ),
    ],
    tree: ['a at 0 "x"', 'b mode 600 owner 15:15 "x"'],
  },
  {
    name: 'times before 1970',
    note: 'In base 256 and in PAX records, where the fraction of a negative time counts away from zero.',
    layers: [
      tar(
        file('a', '', { mtime: -1, magic: 'gnu' }),
        pax([['mtime', '-1.5']]),
        file('b'),
        pax([['mtime', '-0.000000001']]),
        symlink('c', 'x'),
        pax([['mtime', '-2000000000']]),
        directory('d'),
      ),
    ],
    tree: ['a at -1 ""', 'b at -1.500000000 ""', 'c at -0.000000001 -> x', 'd/ at -2000000000'],
  },
  {
    name: 'times after 2038 and 2242',
    note: 'The years in which 31 bits and eleven octal digits overflow.',
    layers: [
      tar(
        file('a', '', { mtime: 2 ** 31 }),
        file('b', '', { mtime: 8 ** 11 - 1 }),
        file('c', '', { mtime: 8 ** 11, magic: 'gnu' }),
        pax([['mtime', `${2 ** 33 + 7}.999999999`]]),
        directory('d'),
      ),
    ],
    tree: ['a at 2147483648 ""', 'b at 8589934591 ""', 'c at 8589934592 ""', 'd/ at 8589934599.999999999'],
  },
  {
    name: 'times with fractions of every length',
    note: 'Nanoseconds are kept; further digits are dropped.',
    layers: [
      tar(
        ...['1000000000.', '1000000000.5', '1000000000.123456789', '1000000000.9999999999'].flatMap(
          (mtime, index) => [pax([['mtime', mtime]]), file(`${index}`)],
        ),
      ),
    ],
    tree: [
      ...['0 ""', '1 at 1000000000.500000000 ""', '2 at 1000000000.123456789 ""'],
      '3 at 1000000000.999999999 ""',
    ],
  },
  {
    name: 'access and creation times',
    note: 'The access time is kept; a creation time cannot be stored.',
    layers: [
      tar(
        pax([
          ['atime', '1.5'],
          ['ctime', '2.5'],
          ['LIBARCHIVE.creationtime', '3.5'],
        ]),
        file('a'),
      ),
    ],
    tree: ['a ""'],
  },
  {
    name: 'binary xattrs',
    note: 'star writes them as PAX records, whose values are bytes: NUL, newline, `=` and invalid UTF-8.',
    layers: [
      tar(
        pax([
          ['SCHILY.xattr.user.binary', BINARY],
          ['SCHILY.xattr.user.text', 'text'],
        ]),
        file('a', 'x'),
        pax([['SCHILY.xattr.user.binary', BINARY]]),
        directory('d'),
      ),
    ],
    tree: [`a user.binary=${shown(BINARY)} user.text=text "x"`, `d/ user.binary=${shown(BINARY)}`],
  },
  {
    name: 'an xattr without a value',
    note: 'It exists; an empty record of any other key removes the value.',
    layers: [tar(pax([['SCHILY.xattr.user.empty', '']]), file('a', 'x'))],
    tree: ['a user.empty= "x"'],
  },
  {
    name: 'xattrs with odd names',
    note: 'Raw bytes, and `=` as GNU tar writes it, `%3D`.',
    layers: [
      tar(
        pax([
          ['SCHILY.xattr.user.a%3Db', '1'],
          ['SCHILY.xattr.user.\xff\xfe', '2'],
          ['SCHILY.xattr.user.a b', '3'],
        ]),
        file('a', 'x'),
      ),
    ],
    tree: ['a user.a b=3 user.a=b=1 user.\\xff\\xfe=2 "x"'],
  },
  {
    name: 'libarchive xattrs',
    note: 'bsdtar writes them in base64, in addition to those of star; Go reads only those of star.',
    layers: [tar(pax([['LIBARCHIVE.xattr.user.note', 'AP8K']]), file('a', 'x'))],
    tree: ['a user.note=\\x00\\xff\\x0a "x"'],
  },
  {
    name: 'file capabilities',
    note: 'Setting the owner afterwards would clear them.',
    layers: [
      tar(
        pax([['SCHILY.xattr.security.capability', CAPABILITY]]),
        file('ping', 'x', { uid: 5, mode: 0o755 }),
      ),
    ],
    tree: [`ping mode 755 owner 5:0 security.capability=${shown(CAPABILITY)} "x"`],
  },
  {
    name: 'a POSIX ACL',
    note: 'GNU tar and bsdtar write ACLs as text, which is ignored; Docker and BuildKit write the xattr of the kernel.',
    layers: [
      tar(
        pax([['SCHILY.xattr.system.posix_acl_access', ACL]]),
        file('a', 'x', { mode: 0o674 }),
        pax([['SCHILY.acl.access', 'user::rw-,user:12:rwx,group::r--,mask::rwx,other::r--']]),
        file('b', 'x', { mode: 0o674 }),
      ),
    ],
    tree: [`a mode 674 system.posix_acl_access=${shown(ACL)} "x"`, 'b mode 674 "x"'],
  },
  {
    name: 'overlayfs xattrs',
    note: 'They would create or hide objects in an upper directory, so they are never taken from a tar.',
    layers: [
      tar(directory('d'), file('d/old', 'old')),
      tar(
        pax([
          ['SCHILY.xattr.trusted.overlay.opaque', 'y'],
          ['SCHILY.xattr.user.overlay.opaque', 'y'],
          ['SCHILY.xattr.trusted.overlay.redirect', '/etc'],
        ]),
        directory('d'),
      ),
    ],
    tree: ['d/', 'd/old "old"'],
  },
  {
    name: 'xattrs that a file system refuses',
    note: 'Linux has no user xattrs on symlinks and FIFOs: skipped, as in Docker.',
    layers: [
      tar(
        pax([['SCHILY.xattr.user.note', 'x']]),
        symlink('a', 'x'),
        pax([['SCHILY.xattr.user.note', 'x']]),
        block({ name: 'b', flag: '6' }),
        pax([['SCHILY.xattr.no-namespace', 'x']]),
        file('c'),
      ),
    ],
    tree: ['a -> x', 'b fifo', 'c ""'],
  },
  {
    name: 'modes of every kind',
    note: 'All twelve bits, and none; type bits, as v7 wrote them, are ignored.',
    layers: [
      tar(
        ...[file('a', 'x', { mode: 0 }), directory('b', { mode: 0 }), file('b/c', 'x', { mode: 0o4755 })],
        ...[file('d', 'x', { mode: 0o2711, gid: 5 }), directory('e', { mode: 0o3777 })],
        ...[
          file('f', 'x', { mode: 0o100_600 }),
          directory('g', { mode: 0o40_700 }),
          symlink('h', 'x', { mode: 0 }),
        ],
      ),
    ],
    tree: [
      ...['a mode 0 "x"', 'b/ mode 0', 'b/c mode 4755 "x"', 'd mode 2711 owner 0:5 "x"', 'e/ mode 3777'],
      ...['f mode 600 "x"', 'g/ mode 700', 'h -> x'],
    ],
  },
  {
    name: 'children of directories without permissions',
    note: 'They are unpacked anyway, and the mode is kept.',
    layers: [
      tar(directory('a', { mode: 0 }), directory('a/b', { mode: 0o111 })),
      tar(file('a/b/c', 'x'), file('a/d', 'y')),
      tar(file('a/b/.wh.c')),
    ],
    tree: ['a/ mode 0', 'a/b/ mode 111', 'a/d "y"'],
  },
  {
    name: 'devices and FIFOs',
    note: 'Created with their mode and owner.',
    layers: [
      tar(
        block({ name: 'null', flag: '3', mode: 0o666, major: 1, minor: 3 }),
        block({ name: 'sda', flag: '4', mode: 0o660, gid: 6, major: 8, minor: 300 }),
        block({ name: 'fifo', flag: '6', mode: 0o600, uid: 7 }),
      ),
    ],
    tree: ['fifo mode 600 owner 7:0 fifo', 'null mode 666 char 1:3', 'sda mode 660 owner 0:6 block 8:300'],
  },
  {
    name: 'user and group names',
    note: 'Only the numbers count: names belong to the machine that wrote them.',
    layers: [
      tar(
        file('a', 'x', { uid: 5, gid: 6, userName: 'root', groupName: 'daemon' }),
        pax([
          ['uname', 'nobody'],
          ['gname', '\xff'],
        ]),
        file('b', 'x'),
      ),
    ],
    tree: ['a owner 5:6 "x"', 'b "x"'],
  },
]
