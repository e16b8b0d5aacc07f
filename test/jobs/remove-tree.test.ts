import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { runJob } from '#layerstack/jobs/run/run-job.js'

let scratch: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-remove-'))
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

it('removeTree removes a moved tree whose paths exceed PATH_MAX', async () => {
  const [tree, moved] = [join(scratch, 'tree'), join(scratch, 'moved'.repeat(50))]
  const step = 'deep'.repeat(20)
  let path = tree
  while (path.length + step.length < 4050) path = join(path, step)
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, 'file'), 'x')
  renameSync(tree, moved)
  expect(() => rmSync(moved, { recursive: true })).toThrow('ENAMETOOLONG')
  await runJob({ kind: 'removeTree', path: moved })
  expect(existsSync(moved)).toBe(false)
})
