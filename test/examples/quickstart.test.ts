/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { digestOf, imageOf, layerTar, writeArchive } from '../store/archive.js'

const project = resolve(import.meta.dirname, '../..')
let scratch: string

beforeAll(() => {
  execFileSync(join(project, 'node_modules/.bin/tsc'), ['-p', join(project, 'examples')])
})

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-examples-'))
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

it('the quickstart runs all its steps on an image that it makes', () => {
  const said = quickstart()
  expect(said).toContain('add    /srv/app/hello.sh')
  expect(said).toContain('quickstart:changed\n2 layers')
  expect(said).toContain('quickstart:flat\n1 layer,')
})

it('the quickstart loads a given archive', async () => {
  const parts = imageOf([await layerTar([{ name: 'only', content: 'one file' }])])
  const archive = join(scratch, 'image.tar')
  await writeArchive(archive, parts)
  expect(quickstart(archive)).toContain(digestOf(parts.config))
})

function quickstart(...args: string[]): string {
  const program = join(project, 'examples/dist/quickstart.js')
  return execFileSync(process.execPath, [program, ...args], { cwd: scratch, encoding: 'utf8' })
}
