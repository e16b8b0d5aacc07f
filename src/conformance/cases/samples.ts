import type { Edit } from '../edit.js'

/** A small root filesystem: directories, symlinks and hard links, owners, set-id bits, an xattr. */
export const BASE: readonly Edit[] = [
  { do: 'mkdir', path: '/etc' },
  { do: 'create', path: '/etc/passwd', content: 'root:x:0:0\n' },
  { do: 'setxattr', path: '/etc/passwd', name: 'user.note', value: 'kept' },
  { do: 'mkdir', path: '/usr' },
  { do: 'mkdir', path: '/usr/lib' },
  { do: 'create', path: '/usr/lib/a', content: 'aaaa' },
  { do: 'create', path: '/usr/lib/b', content: 'bbbb' },
  { do: 'link', path: '/usr/lib/a', to: '/usr/lib/a2' },
  { do: 'symlink', path: '/usr/lib64', target: 'lib' },
  { do: 'chown', path: '/usr/lib/b', uid: 1000, gid: 1001 },
  { do: 'chmod', path: '/usr/lib/b', mode: 0o4711 },
  { do: 'mkdir', path: '/tmp', mode: 0o1777 },
]

/** Changes of every kind on top of `BASE`. */
export const CHANGES: readonly Edit[] = [
  { do: 'create', path: '/etc/motd', content: 'hello\n' },
  { do: 'append', path: '/etc/passwd', content: 'me:x:1000:1000\n' },
  { do: 'remove', path: '/usr/lib/b' },
  { do: 'remove', path: '/tmp' },
  { do: 'mkdir', path: '/tmp', mode: 0o700 },
  { do: 'create', path: '/tmp/new', content: 'new' },
  { do: 'chmod', path: '/usr/lib', mode: 0o700 },
  { do: 'remove', path: '/usr/lib64' },
  { do: 'mkdir', path: '/usr/lib64' },
  { do: 'link', path: '/etc/motd', to: '/etc/motd2' },
  { do: 'mknod', path: '/pipe', type: 'fifo', mode: 0o600 },
]

export const CHANGED: readonly string[] = [
  'modify /etc',
  'add /etc/motd',
  'add /etc/motd2',
  'modify /etc/passwd',
  'add /pipe',
  'modify /tmp',
  'add /tmp/new',
  'modify /usr',
  'modify /usr/lib',
  'delete /usr/lib/b',
  'modify /usr/lib64',
]
