/** @module-tag every-identity */
import { describe, it } from 'vitest'
import { unless } from '../support/needs.js'
import { mustAgree } from './fuzz.js'
import { pairNamed } from './pairs.js'
import type { Step } from './step.js'

/** Disagreements that random steps have found, by pair. */
const found: Readonly<Record<string, readonly { readonly of: string; readonly steps: readonly Step[] }[]>> = {
  'overlay2 in userspace and overlay2 of the kernel': [
    {
      of: 'opening a device or FIFO of a lower layer for writing',
      steps: [
        { do: 'fs.appendFile', path: 'd/d', content: 'x' },
        { do: 'write', path: 'd/c', flags: '', mode: 0o644, at: 0, content: 'x' },
      ],
    },
    {
      of: 'removing an xattr without a namespace from an object of a lower layer',
      steps: [{ do: 'removexattr', path: 'c', name: 'none' }],
    },
    {
      of: 'renaming one of two hard links of a lower file to the name of a directory',
      steps: [
        { do: 'fs.mkdirs', path: '\xff' },
        { do: 'fs.rename', path: 'a/a', to: '\xff' },
      ],
    },
  ],
  'vfs and btrfs in userspace': [
    {
      of: 'removing a user xattr from a symlink',
      steps: [{ do: 'removexattr', path: 'c', name: 'user.one' }],
    },
    {
      of: 'reading from an open directory',
      steps: [
        { do: 'file.open', file: 0, path: 'a', flags: 'r' },
        { do: 'file.stat', file: 0 },
        { do: 'file.read', file: 0, length: 0, at: 0 },
        { do: 'file.read', file: 0, length: 1, at: 0 },
      ],
    },
    { of: 'truncating a symlink', steps: [{ do: 'truncate', path: 'd/b', size: 0 }] },
    {
      of: 'renaming a file to the name of its parent directory',
      steps: [{ do: 'rename', path: 'a/a', to: 'a' }],
    },
    { of: 'linking a directory to an existing name', steps: [{ do: 'link', path: 'a', to: 'a' }] },
    {
      of: 'reading from a file that is open for writing',
      steps: [
        { do: 'file.open', file: 0, path: 'b', flags: 'a' },
        { do: 'file.read', file: 0, length: 3, at: 0 },
      ],
    },
  ],
  'vfs and vfs with attributes kept aside': [
    {
      of: 'setting xattrs of a symlink',
      steps: [
        { do: 'removexattr', path: 'c', name: 'trusted.three' },
        { do: 'setxattr', path: 'c', name: 'trusted.three', value: 'x', flag: 'create' },
        { do: 'readlink', path: 'c' },
        { do: 'setxattr', path: 'c', name: 'user.one', value: 'x' },
      ],
    },
    {
      of: 'changing the owner of a symlink and changing it back',
      steps: [
        { do: 'chown', path: 'c', uid: 1000, gid: 1000 },
        { do: 'chown', path: 'c', uid: 0, gid: 0 },
        { do: 'readlink', path: 'c' },
      ],
    },
    {
      of: 'reading an xattr of a missing file',
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
