/** @module-tag every-identity */
import { execFileSync } from 'node:child_process'
import { linkSync, symlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { lgetxattr, llistxattr, lremovexattr, lsetxattr } from '#layerstack/sys/xattr.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { Scratch, thrownBy } from './scratch.js'

describe('xattrs', unless(noCalls), () => {
  it('keep every byte value and the empty value', () => {
    using scratch = new Scratch()
    const file = scratch.file('a')
    const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    lsetxattr(file, 'user.every', every)
    lsetxattr(file, 'user.empty', Buffer.alloc(0))
    expect(lgetxattr(file, 'user.every')).toEqual(every)
    expect(lgetxattr(file, 'user.empty')).toEqual(Buffer.alloc(0))
    expect(lgetxattr(file, 'user.none')).toBeUndefined()
    expect(userNames(file)).toEqual(['user.empty', 'user.every'])
  })

  it(
    'are read completely up to 64 KiB, and listed completely if there are many',
    unless(noMounts, notInstalled('mkfs.xfs')),
    () => {
      using scratch = new Scratch()
      const file = `${scratch.fileSystem(['mkfs.xfs', '-q'], 320)}/a`
      scratch.file('fs/a')
      for (const size of [4095, 4096, 4097, 65_536]) {
        lsetxattr(file, 'user.long', Buffer.alloc(size, 7))
        expect(lgetxattr(file, 'user.long')?.equals(Buffer.alloc(size, 7))).toBe(true)
      }
      const names = Array.from({ length: 60 }, (_, index) => `user.${'n'.repeat(200)}${index}`)
      for (const name of names) lsetxattr(file, name, Buffer.from('x'))
      expect(userNames(file)).toEqual(['user.long', ...names].toSorted())
    },
  )

  it('agree with getfattr and setfattr', unless(notInstalled('getfattr', 'setfattr')), () => {
    using scratch = new Scratch()
    const file = scratch.file('a')
    lsetxattr(file, 'user.ours', Buffer.from([0, 255]))
    execFileSync('setfattr', ['-n', 'user.theirs', '-v', '0xff00', file])
    const dump = execFileSync('getfattr', ['--absolute-names', '-e', 'hex', '-n', 'user.ours', file])
    expect(dump.toString()).toContain('user.ours=0x00ff')
    expect(lgetxattr(file, 'user.theirs')).toEqual(Buffer.from([255, 0]))
  })

  it('obey the flags `create` and `replace`, and can be removed once', () => {
    using scratch = new Scratch()
    const file = scratch.file('a')
    expect(thrownBy(() => lsetxattr(file, 'user.a', Buffer.from('1'), 'replace')).code).toBe('ENODATA')
    lsetxattr(file, 'user.a', Buffer.from('1'), 'create')
    expect(thrownBy(() => lsetxattr(file, 'user.a', Buffer.from('2'), 'create')).code).toBe('EEXIST')
    lsetxattr(file, 'user.a', Buffer.from('2'), 'replace')
    expect(lgetxattr(file, 'user.a')?.toString()).toBe('2')
    lremovexattr(file, 'user.a')
    expect(lgetxattr(file, 'user.a')).toBeUndefined()
    expect(thrownBy(() => lremovexattr(file, 'user.a'))).toMatchObject({
      code: 'ENODATA',
      errno: -61,
      syscall: 'removexattr',
      path: file,
    })
  })

  it('of a symlink are separate from those of its target', unless(noMounts), () => {
    using scratch = new Scratch()
    const [file, link] = [scratch.file('a'), scratch.path('link')]
    symlinkSync('a', link)
    lsetxattr(link, 'trusted.mark', Buffer.from('link'))
    lsetxattr(file, 'trusted.mark', Buffer.from('file'))
    expect(lgetxattr(link, 'trusted.mark')?.toString()).toBe('link')
    lremovexattr(link, 'trusted.mark')
    expect(lgetxattr(file, 'trusted.mark')?.toString()).toBe('file')
  })

  it('are accessible on a path that is not UTF-8', () => {
    using scratch = new Scratch()
    const path = Buffer.concat([Buffer.from(scratch.root), Buffer.from([0x2f, 0xff, 0xfe])])
    linkSync(scratch.file('a'), path)
    lsetxattr(path, 'user.a', Buffer.from('1'))
    expect(lgetxattr(scratch.path('a'), 'user.a')?.toString()).toBe('1')
  })

  it('fail with ENOENT on a missing file', () => {
    expect(thrownBy(() => lgetxattr('/nowhere', 'user.a'))).toMatchObject({
      code: 'ENOENT',
      path: '/nowhere',
      syscall: 'getxattr',
    })
    expect(thrownBy(() => llistxattr('/nowhere')).code).toBe('ENOENT')
  })
})

/** Sorted, without the xattrs of security modules. */
function userNames(file: string): string[] {
  return llistxattr(file)
    .map((name) => name.toString())
    .filter((name) => name.startsWith('user.'))
    .toSorted()
}
