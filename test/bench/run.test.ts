/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mayMakeBtrfs } from '../../bench/disk.js'
import type { Run } from '../../bench/result.js'
import { hasDeviceMapper } from '../support/device-mapper.mjs'
import { notInstalled, unless } from '../support/needs.js'

const project = resolve(import.meta.dirname, '../..')
/** In memory if possible, because a run writes a lot. */
const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const directory = mkdtempSync(join(parent, 'layerstack-bench-test-'))
const json = join(directory, 'run.json')
const html = join(directory, 'run.html')
const tables = join(directory, 'tables.txt')
const noNeed = hasDeviceMapper ? 'this kernel has a device-mapper' : notInstalled('linux.uml')

/** Runs a small workload for two rounds, with every engine that works on this machine and an external driver. */
describe('npm run bench', () => {
  let text: string
  let run: Run

  beforeAll(() => {
    execFileSync(process.execPath, [join(project, 'node_modules/typescript/bin/tsc'), '-p', 'bench'], {
      cwd: project,
    })
    const module = join(directory, 'my-driver.mjs')
    writeFileSync(module, DRIVER)
    text = bench('--driver-module', module, '--json', json, '--html', html, '--table', tables)
    run = JSON.parse(readFileSync(json, 'utf8')) as Run
  })

  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it('takes one sample per round of each driver and floor that works', () => {
    expect(run.version).toBe(1)
    expect(run.results.map(({ workload }) => workload)).toEqual(['cow/chmod 1 MiB'])
    for (const { contenders } of run.results) {
      expect(contenders.map(({ name }) => name)).toEqual(
        expect.arrayContaining(['overlay2/userspace', 'vfs/userspace', 'overlayfs']),
      )
      if (mayMakeBtrfs()) expect(contenders.map(({ name }) => name)).toContain('btrfs/kernel')
      for (const { kind, samples, peakMemory } of contenders.filter(({ failure }) => failure === undefined)) {
        expect(samples).toHaveLength(2)
        expect(samples.every(({ total }) => total > 0)).toBe(true)
        if (kind === 'driver') expect(peakMemory).toBeGreaterThan(1e6)
      }
    }
  })

  it('reports the allocation on disk and the event-loop delay of a copy-up', () => {
    const userspace = contender('overlay2/userspace')
    expect(userspace?.allocated).toBeGreaterThanOrEqual(20 * 2 ** 20)
    expect(userspace?.loopDelay?.max).toBeGreaterThan(0)
  })

  it('measures a driver that --driver-module adds', () => {
    expect(contender('mine/userspace')?.samples).toHaveLength(2)
    expect(text).toMatch(/^ *mine\/userspace .* [µm]s /m)
  })

  it('writes a self-contained page with a bar for each contender and a dot for each sample', () => {
    const written = readFileSync(html, 'utf8')
    expect(written).toMatch(/^<!doctype html>/)
    expect(written).not.toMatch(/(?:src|href)="(?!#)|@import|url\(/)
    const ran = run.results.flatMap(({ contenders }) =>
      contenders.filter(({ samples }) => samples.length > 0),
    )
    expect(written.match(/class="bar"/g)).toHaveLength(ran.length)
    expect(written.match(/<circle/g)).toHaveLength(ran.reduce((sum, { samples }) => sum + samples.length, 0))
  })

  it('writes the tables that the terminal shows to --table', () => {
    const written = readFileSync(tables, 'utf8')
    expect(written).toMatch(/^ *mine\/userspace .* [µm]s /m)
    expect(text).toContain(written.slice(written.indexOf('cow/chmod')).trimEnd())
  })

  it(
    'adds the results of devicemapper/kernel in User-Mode Linux to the run',
    { ...unless(noNeed), timeout: 300_000 },
    () => {
      const [own, there] = [join(directory, 'uml.json'), join(directory, 'uml.html')]
      const words = ['--uml', '--rounds', '1', '--driver', 'devicemapper', '--only', 'graphbench/Exists']
      node('--quick', '--no-peers', '--disk', directory, ...words, '--json', own, '--html', there)
      const { results, elsewhere } = JSON.parse(readFileSync(own, 'utf8')) as Run
      expect(results.map(({ workload }) => workload)).toEqual(['graphbench/Exists', 'uml/graphbench/Exists'])
      const kernel = results[1]?.contenders.find(({ name }) => name === 'devicemapper/kernel')
      expect(kernel?.failure).toBeUndefined()
      expect(kernel?.samples).toHaveLength(1)
      expect(elsewhere?.['uml']?.machine.processor).toContain('UML')
      expect(readFileSync(there, 'utf8')).toMatch(/<h2 id="uml">In User-Mode Linux<\/h2>/)
    },
  )

  it('shows an earlier run with --show', () => {
    const again = join(directory, 'again.html')
    const shown = node('--show', json, '--html', again)
    expect(shown).toContain('cow/chmod 1 MiB')
    expect(readFileSync(again, 'utf8')).toContain('mine/userspace')
  })

  it('fails with --compare if a driver became slower', () => {
    const older = join(directory, 'older.json')
    writeFileSync(older, JSON.stringify(faster(run)))
    expect(() => bench('--driver', 'overlay2/userspace', '--compare', older)).toThrow(/slower/)
  })

  function contender(name: string) {
    return run.results[0]?.contenders.find((each) => each.name === name)
  }
})

/** Returns the run with all samples of drivers replaced by the same, much shorter time. */
function faster(run: Run): Run {
  const quick = { total: 1e-7, phases: {} }
  const results = run.results.map((result) => ({
    ...result,
    contenders: result.contenders.map((each) =>
      each.kind === 'driver' ? { ...each, samples: each.samples.map(() => quick) } : each,
    ),
  }))
  return { ...run, results }
}

function bench(...args: readonly string[]): string {
  const asked = ['--quick', '--rounds', '2', '--no-peers', '--disk', directory]
  const small = ['--only', 'cow/chmod']
  return node(...asked, ...small, ...args)
}

function node(...args: readonly string[]): string {
  try {
    const command = [join(project, 'bench/dist/bench/main.js'), ...args]
    return execFileSync(process.execPath, command, { encoding: 'utf8', cwd: project, stdio: 'pipe' })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${stdout}\n${stderr}`, { cause: error })
  }
}

const DRIVER = `
import { vfs } from ${JSON.stringify(join(project, 'dist/drivers/vfs/index.js'))}
export const mine = { ...vfs, name: 'mine', open: (options) => vfs.open(options) }
`
