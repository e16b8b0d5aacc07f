/** @module-tag every-identity */
import { closeSync, constants, openSync, readFileSync, symlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '#layerstack/sys/openat2.js'
import { noCalls, unless } from '../support/needs.js'
import { Scratch, runScript, thrownBy } from './scratch.js'

describe('openat2', unless(noCalls), () => {
  it('does not leave the root through `..` or symlinks', () => {
    using scratch = new Scratch()
    scratch.file('secret', 'outside')
    scratch.directory('root/etc')
    scratch.file('root/secret', 'inside')
    symlinkSync('/secret', scratch.path('root/absolute'))
    symlinkSync('../../../secret', scratch.path('root/etc/climbing'))
    for (const path of ['secret', '/secret', '../secret', 'etc/../../secret', 'absolute', 'etc/climbing']) {
      expect(read(scratch.path('root'), path, RESOLVE_IN_ROOT), path).toBe('inside')
    }
  })

  it('refuses symlinks and magic links if its flags forbid them', () => {
    using scratch = new Scratch()
    scratch.file('a', 'a')
    symlinkSync('a', scratch.path('link'))
    expect(read(scratch.root, 'a', RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)).toBe('a')
    expect(thrownBy(() => read(scratch.root, 'link', RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS))).toMatchObject({
      code: 'ELOOP',
      syscall: 'openat2',
      path: 'link',
    })
    expect(thrownBy(() => read('/', 'proc/self/exe', RESOLVE_NO_MAGICLINKS)).code).toBe('ELOOP')
  })

  it('stays in the root while another process renames directories', () => {
    using scratch = new Scratch()
    scratch.file('secret', 'outside')
    for (const name of ['root/a/b/c', 'root/x']) scratch.directory(name)
    scratch.file('root/secret', 'inside')
    const mover = `
      const { renameSync } = require('node:fs')
      const end = Date.now() + 700
      while (Date.now() < end) { renameSync('root/a/b', 'root/x/b'); renameSync('root/x/b', 'root/a/b') }`
    const child = runScript(mover, scratch.root)
    const seen = new Set<string>()
    for (let tries = 0; tries < 20_000; tries++) {
      try {
        seen.add(read(scratch.path('root'), 'a/b/c/../../../../../secret', RESOLVE_IN_ROOT))
      } catch (error) {
        seen.add((error as NodeJS.ErrnoException).code ?? 'no code')
      }
    }
    child.kill()
    expect(seen).toContain('inside')
    expect([...seen].filter((result) => result !== 'inside' && result !== 'ENOENT')).toEqual([])
  })
})

function read(root: string, path: string, resolve: number): string {
  const directory = openSync(root, O_PATH | constants.O_DIRECTORY)
  try {
    const fd = openat2(directory, path, constants.O_RDONLY, resolve)
    const content = readFileSync(fd, 'utf8')
    closeSync(fd)
    return content
  } finally {
    closeSync(directory)
  }
}
