/** @module-tag unit */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WriteBack } from '#layerstack/jobs/record/write-back.js'
import { syncfsElsewhere } from '#layerstack/sys/syncfs.js'
import { noCalls, unless } from '../support/needs.js'
import { openFiles } from '../support/open-files.js'

const MIB = 1 << 20
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'layerstack-write-back-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('WriteBack', () => {
  it('holds one descriptor of the directory until end()', unless(noCalls), async () => {
    const writeBack = new WriteBack(directory)
    writeFileSync(join(directory, 'file'), Buffer.alloc(MIB, 'x'))
    for (let made = 0; made < 100; made++) writeBack.made(MIB)
    expect(openDescriptors()).toBe(1)
    await writeBack.end()
    expect(openDescriptors()).toBe(0)
  })

  it('gets a failure of syncfs as a rejection of syncfsElsewhere()', unless(noCalls), async () => {
    await expect(syncfsElsewhere(-1)).rejects.toMatchObject({ syscall: 'syncfs' })
  })
})

function openDescriptors(): number {
  return openFiles().filter((path) => path === directory).length
}
