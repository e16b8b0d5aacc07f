/** @module-tag every-identity */
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { tellsTypes } from '#layerstack/sys/dirent-types.js'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { syncfs } from '#layerstack/sys/syncfs.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { Scratch, thrownBy } from './scratch.js'

describe('filesystem', unless(noCalls), () => {
  it('can be synced through any of its descriptors', () => {
    using scratch = new Scratch()
    const fd = openSync(scratch.file('a', 'x'), 'r')
    syncfs(fd)
    closeSync(fd)
    expect(thrownBy(() => syncfs(fd)).code).toBe('EBADF')
  })

  it('has the name that Docker uses, and a number of free bytes', () => {
    expect(fileSystemOf('/proc').name).toBe('proc')
    expect(fileSystemOf('/').free > 0n).toBe(true)
  })

  it('reports entry types in the temporary directory', () => {
    using scratch = new Scratch()
    scratch.file('a')
    expect(tellsTypes(scratch.root)).toBe(true)
  })

  it(
    'reports no entry types on ext4 without the filetype feature',
    unless(noMounts, notInstalled('mkfs.ext4')),
    () => {
      using scratch = new Scratch()
      const fs = scratch.fileSystem(['mkfs.ext4', '-q', '-O', '^filetype'], 16)
      writeFileSync(`${fs}/a`, '')
      expect(tellsTypes(fs)).toBe(false)
      expect(fileSystemOf(fs).name).toBe('extfs')
    },
  )
})
