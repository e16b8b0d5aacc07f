/** @module-tag every-identity */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { walk } from '#layerstack/fs/trees/walk.js'
import { runJob } from '#layerstack/jobs/run/run-job.js'
import { diffParts } from '#layerstack/tar/diff.js'
import { noLinux, unless } from '../support/needs.js'

const PAIRS = 6
const FILES = 30
const SECRET = 'the secret of the host'
const SCRIPT = join(process.cwd(), 'test/torture/swapping.mjs')
const RENAME_MODULE = pathToFileURL(join(process.cwd(), 'dist/sys/rename.js')).href
const ATTEMPTS = 12

let scratch: string
let host: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-swapped-'))
  host = join(scratch, 'host')
  fill(host, SECRET)
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

/** Files have the same names in each swapped directory and in the host's directory. */
function fill(directory: string, content: string): void {
  mkdirSync(join(directory, 'deeper'), { recursive: true })
  for (let n = 0; n < FILES; n++) writeFileSync(join(directory, `f${n}`), content)
  for (let n = 0; n < FILES; n++) writeFileSync(join(directory, 'deeper', `f${n}`), content)
}

function plant(tree: string): void {
  for (let n = 0; n < PAIRS; n++) {
    fill(join(tree, `d${n}`), 'its own')
    symlinkSync(host, join(tree, `s${n}`))
  }
}

async function whileSwapped(tree: string, work: () => Promise<void>): Promise<void> {
  const child = spawn(process.execPath, [SCRIPT, tree, String(PAIRS), RENAME_MODULE], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await once(child.stdout, 'data')
    await work()
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

/** A call may fail because of a swap, which is not a leak. */
function attempt(work: () => void): void {
  for (let turn = 0; turn < ATTEMPTS; turn++) {
    try {
      work()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error
    }
  }
}

it(
  'reading an untrusted tree never follows a directory that was swapped for a symlink',
  unless(noLinux),
  async () => {
    const tree = join(scratch, 'tree')
    plant(tree)
    const upper = { kind: 'host', root: tree, readOnly: true, untrusted: true } as const
    const found: string[] = []
    const diff = (): void => {
      for (const part of diffParts({ form: 'compare', upper }))
        if (Buffer.from(part.bytes).includes(SECRET)) found.push('diff')
    }
    const readFiles = (): void => {
      using fs = new HostFs(upper)
      for (const { path, stat } of walk(fs)) {
        if (stat.type !== 'file') continue
        const file = fs.openSeen(path)
        const buffer = Buffer.alloc(SECRET.length)
        file.read(buffer, 0)
        file.close()
        if (buffer.includes(SECRET)) found.push(path)
      }
    }
    await whileSwapped(tree, async () => {
      attempt(diff)
      attempt(readFiles)
    })
    // Both read the whole tree once it is at rest.
    diff()
    readFiles()
    expect(found).toEqual([])
  },
)

it('removing a tree never follows a directory that was swapped for a symlink', unless(noLinux), async () => {
  const before = readdirSync(host, { recursive: true }).length
  for (let turn = 0; turn < 5; turn++) {
    const tree = join(scratch, `tree${turn}`)
    plant(tree)
    const remove = () => runJob({ kind: 'removeTree', path: tree })
    await whileSwapped(tree, () => remove().catch(() => undefined))
    await remove()
    expect(existsSync(tree)).toBe(false)
    expect(readdirSync(host, { recursive: true })).toHaveLength(before)
  }
})

it('an untrusted HostFs lists a renamed directory under its new name only', unless(noLinux), () => {
  const tree = join(scratch, 'tree')
  plant(tree)
  using fs = new HostFs({ kind: 'host', root: tree, untrusted: true })
  fs.readdir('d0' as ByteString)
  fs.rename('d0' as ByteString, 'moved' as ByteString)
  expect(() => fs.readdir('d0' as ByteString)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  expect(fs.readdir('moved' as ByteString)).toHaveLength(FILES + 1)
})
