import { describe, it } from 'vitest'
import { unless } from '../support/needs.js'
import { mustAgree } from './fuzz.js'
import { pairNamed } from './pairs.js'
import type { Step } from './step.js'

/** What random steps have brought to light, on the pair that disagreed. */
const found: Readonly<Record<string, readonly { readonly of: string; readonly steps: readonly Step[] }[]>> = {
  'overlay2 in userspace and overlay2 of the kernel': [
    {
      of: 'opening a device or a FIFO of a lower layer to write',
      steps: [
        { do: 'fs.appendFile', path: 'd/d', content: 'x' },
        { do: 'write', path: 'd/c', flags: '', mode: 0o644, at: 0, content: 'x' },
      ],
    },
    {
      of: 'removing an xattr that no namespace has from an object of a lower layer',
      steps: [{ do: 'removexattr', path: 'c', name: 'none' }],
    },
    {
      of: 'renaming one of two links of a lower file onto a directory',
      steps: [
        { do: 'fs.mkdirs', path: '\xff' },
        { do: 'fs.rename', path: 'a/a', to: '\xff' },
      ],
    },
  ],
  'vfs and btrfs in userspace': [
    { of: 'an xattr of users on a symlink', steps: [{ do: 'removexattr', path: 'c', name: 'user.one' }] },
    {
      of: 'a directory that is opened to read',
      steps: [
        { do: 'file.open', file: 0, path: 'a', flags: 'r' },
        { do: 'file.stat', file: 0 },
        { do: 'file.read', file: 0, length: 0, at: 0 },
        { do: 'file.read', file: 0, length: 1, at: 0 },
      ],
    },
    { of: 'truncating a symlink', steps: [{ do: 'truncate', path: 'd/b', size: 0 }] },
    { of: 'renaming a file over its directory', steps: [{ do: 'rename', path: 'a/a', to: 'a' }] },
    { of: 'linking a directory to a name that is taken', steps: [{ do: 'link', path: 'a', to: 'a' }] },
    {
      of: 'reading a file that is open to write',
      steps: [
        { do: 'file.open', file: 0, path: 'b', flags: 'a' },
        { do: 'file.read', file: 0, length: 3, at: 0 },
      ],
    },
  ],
  'vfs and vfs with attributes kept aside': [
    {
      of: 'an xattr of a symlink',
      steps: [
        { do: 'removexattr', path: 'c', name: 'trusted.three' },
        { do: 'setxattr', path: 'c', name: 'trusted.three', value: 'x', flag: 'create' },
        { do: 'readlink', path: 'c' },
        { do: 'setxattr', path: 'c', name: 'user.one', value: 'x' },
      ],
    },
    {
      of: 'a symlink that is given away and back',
      steps: [
        { do: 'chown', path: 'c', uid: 1000, gid: 1000 },
        { do: 'chown', path: 'c', uid: 0, gid: 0 },
        { do: 'readlink', path: 'c' },
      ],
    },
    {
      of: 'an xattr of nothing',
      steps: [{ do: 'getxattr', path: 'a/none', name: 'none' }],
    },
  ],
}

for (const [name, cases] of Object.entries(found)) {
  const pair = pairNamed(name)
  describe(`${name} agree on`, unless(pair.reason), () => {
    for (const { of, steps } of cases) it(of, () => mustAgree(pair, steps))
  })
}
