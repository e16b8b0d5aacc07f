/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const project = resolve(import.meta.dirname, '../..')
const bin = (name: string) => join(project, 'node_modules/.bin', name)
let directory: string
let tarball: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'layerstack-package-'))
  const packed = execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', directory], {
    cwd: project,
    encoding: 'utf8',
  })
  tarball = join(directory, (JSON.parse(packed) as [{ filename: string }])[0].filename)
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('the packed package', () => {
  it('is what publint takes for right', () => {
    const said = execFileSync(bin('publint'), ['--strict', tarball], { cwd: project, encoding: 'utf8' })
    expect(said).toContain('All good!')
  })

  it('gives types wherever it gives code', () => {
    execFileSync(bin('attw'), ['--profile', 'esm-only', tarball], { cwd: project, encoding: 'utf8' })
  })

  it('holds no test and nothing of the machine that built it', () => {
    const names = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n')
    expect(names).toContain('package/dist/index.d.ts')
    expect(names.filter((name) => !/^package\/(dist|src)\//.test(name)).toSorted()).toEqual([
      'package/CHANGELOG.md',
      'package/LICENSE',
      'package/README.md',
      'package/SECURITY.md',
      'package/package.json',
    ])
  })
})

it('loads from every export', async () => {
  const { exports } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as { exports: object }
  const entries = Object.keys(exports).filter((entry) => !entry.endsWith('.json'))
  const paths = entries.flatMap((entry) =>
    entry.includes('*') ? ['overlay2', 'vfs'].map((driver) => entry.replace('*', driver)) : [entry],
  )
  for (const path of paths) {
    expect(Object.keys((await import(`layerstack${path.slice(1)}`)) as object).length, path).toBeGreaterThan(
      0,
    )
  }
})
