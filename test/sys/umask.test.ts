/** @module-tag every-identity */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostFs } from '#layerstack/fs/host/host-fs.js'

/** Creates files forever, as a program that relies on its umask. */
const MAKING = `
  const { writeFileSync } = require('node:fs')
  const { workerData: directory, parentPort } = require('node:worker_threads')
  parentPort.postMessage('begun')
  for (let count = 0; ; count++) writeFileSync(directory + '/' + count, '')
`

describe('umask', () => {
  let directory: string

  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'layerstack-umask-'))))
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  it('stays in force for other threads while HostFs opens a tree', async () => {
    const maker = new Worker(MAKING, { eval: true, workerData: directory })
    await once(maker, 'message')
    const end = Date.now() + 500
    while (Date.now() < end) new HostFs({ kind: 'host', root: directory }).close()
    await maker.terminate()
    const modes = readdirSync(directory).map((name) => statSync(join(directory, name)).mode & 0o777)
    expect(new Set(modes)).toEqual(new Set([0o666 & ~process.umask()]))
  })
})
