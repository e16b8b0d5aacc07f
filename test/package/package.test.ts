/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const DRIVERS = ['overlay2', 'btrfs', 'vfs', 'devicemapper']
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
  it('passes publint', () => {
    const said = execFileSync(bin('publint'), ['--strict', tarball], { cwd: project, encoding: 'utf8' })
    expect(said).toContain('All good!')
  })

  it('has types for every export', () => {
    execFileSync(bin('attw'), ['--profile', 'esm-only', tarball], { cwd: project, encoding: 'utf8' })
  })

  it('holds only dist, src and documents, and no build cache', () => {
    const names = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n')
    expect(names).toContain('package/dist/index.d.ts')
    expect(names).not.toContain('package/dist/.tsbuildinfo')
    expect(names.filter((name) => !/^package\/(dist|src)\//.test(name)).toSorted()).toEqual([
      'package/CHANGELOG.md',
      'package/LICENSE',
      'package/README.md',
      'package/SECURITY.md',
      'package/package.json',
    ])
  })
})

describe('the compiled package', () => {
  it('loads from every export', () => {
    const { exports } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as { exports: object }
    const paths = Object.keys(exports)
      .filter((entry) => !entry.endsWith('.json'))
      .flatMap((entry) =>
        entry.includes('*') ? DRIVERS.map((driver) => entry.replace('*', driver)) : [entry],
      )
    expect(paths.length).toBeGreaterThan(DRIVERS.length)
    for (const path of paths) {
      const script = `console.log(Object.keys(await import('layerstack${path.slice(1)}')).length)`
      expect(Number(node('--input-type=module', '--eval', script)), path).toBeGreaterThan(0)
    }
  })

  it('has the public names and types of the reviewed reports, and exports every name that they reach', () => {
    expect(() => node('api/extract.mjs', '--check')).not.toThrow()
  })
})

function node(...args: readonly string[]): string {
  return execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8' })
}
