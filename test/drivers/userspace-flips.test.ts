import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { write } from './userspace-fixture.js'

const ROUNDS = 15
/** `npm run torture` tries random damage without a limit. */
const SEED = Number(process.env['LAYERSTACK_FLIPS_SEED'] ?? 2)
const engines = {
  btrfs: { factory: btrfs, driverOptions: {} },
  devicemapper: {
    factory: devicemapper,
    driverOptions: { 'dm.basesize': '64M', 'dm.loopdatasize': '64M', 'dm.loopmetadatasize': '4M' },
  },
}
const IDS = ['base', 'middle', 'top'] as const

describe.each(['btrfs', 'devicemapper'] as const)(
  '%s on the userspace engine, with a damaged file',
  (name) => {
    const { factory, driverOptions } = engines[name]
    let scratch: string
    let whole: string
    let root: string

    beforeAll(async () => {
      scratch = mkdtempSync(join(tmpdir(), 'layerstack-flips-'))
      ;[whole, root] = [join(scratch, 'whole'), join(scratch, 'root')]
      mkdirSync(whole)
      const driver = await factory.open({ root: whole, engine: 'userspace', readOnly: false, driverOptions })
      for (const [index, id] of IDS.entries()) {
        await driver.create(id, IDS[index - 1])
        for (let file = 0; file < 30; file++) await write(driver, id, `/${id}${file}`, content(id, file))
      }
      await driver.cleanup()
    })

    afterAll(() => rmSync(scratch, { recursive: true, force: true }))

    it('returns the written content or a typed error, and a check reports unreadable content', async () => {
      const random = randomFrom(SEED)
      const outcomes = { refused: 0, suffered: 0, unharmed: 0 }
      for (let round = 0; round < ROUNDS; round++) {
        rmSync(root, { recursive: true, force: true })
        cpSync(whole, root, { recursive: true })
        const files = filesBelow(join(root, name))
        const file = files[random(files.length)] as string
        const what = damage(file, random)
        const told = `seed ${SEED}, round ${round}: ${relative(root, file)} ${what}`
        outcomes[await outcome(told)]++
      }
      console.log(`${name}: ${ROUNDS} files damaged, ${JSON.stringify(outcomes)}`)
      expect(outcomes.refused + outcomes.suffered).toBeGreaterThan(5)
    })

    async function outcome(told: string): Promise<'refused' | 'suffered' | 'unharmed'> {
      let driver: Driver
      try {
        driver = await factory.open({ root, engine: 'userspace', readOnly: false, driverOptions })
      } catch (error) {
        mustBeTyped(error, told)
        return 'refused'
      }
      let failures = 0
      const attempt = async (work: () => Promise<unknown>): Promise<void> => {
        try {
          await work()
        } catch (error) {
          if (error instanceof Error && error.name === 'AssertionError') throw error
          mustBeTyped(error, told)
          failures++
        }
      }
      try {
        for (const id of IDS) {
          await attempt(async () => {
            const { fs } = await driver.get(id)
            for (const each of IDS.slice(0, IDS.indexOf(id) + 1)) {
              for (let file = 0; file < 30; file++) {
                await attempt(async () => {
                  const found = await fs.readFile(`/${each}${file}`)
                  expect(found.equals(content(each, file)), told).toBe(true)
                })
              }
            }
          })
          await attempt(() => driver.put(id))
        }
        // Only the store knows which layers should exist.
        if (failures > 0 && !told.endsWith('was removed')) {
          const found = await driver
            .check?.()
            .catch((error: unknown) => (mustBeTyped(error, told), ['error']))
          expect(found, told).not.toEqual([])
        }
        await attempt(() => driver.create('new', 'base'))
        await attempt(() => driver.remove('top'))
      } finally {
        await driver.cleanup().catch((error: unknown) => mustBeTyped(error, told))
      }
      return failures > 0 ? 'suffered' : 'unharmed'
    }
  },
)

function content(id: string, file: number): Buffer {
  return Buffer.alloc(500 + file * 900, `${id} ${file} `)
}

/** Accepts a StoreError, or EIO from a view, which only damage causes in this test. */
function mustBeTyped(error: unknown, told: string): void {
  const { name, code } = error as { name?: string; code?: string }
  const isTyped = name === 'StoreError' || code === 'EIO'
  if (!isTyped) throw new Error(`${told}: ${String(code)} ${String(error)}`, { cause: error })
}

function damage(file: string, random: (below: number) => number): string {
  const { size } = lstatSync(file)
  const kind = random(10)
  if (kind === 0) {
    rmSync(file)
    return 'was removed'
  }
  if (kind === 1) {
    rmSync(file)
    mkdirSync(file)
    return 'became a directory'
  }
  if (kind === 2) {
    truncateSync(file, random(size))
    return 'was cut'
  }
  // Prefers a byte other than zero: pool files are mostly holes.
  const bytes = readFileSync(file)
  let at = random(size)
  for (let tries = 0; tries < 2000 && bytes[at] === 0; tries++) at = random(size)
  bytes[at] = (bytes[at] as number) ^ (1 << random(8))
  writeFileSync(file, bytes)
  return `has byte ${at} flipped`
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.lock|\.next$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
}

function randomFrom(seed: number): (below: number) => number {
  let state = seed + 1
  return (below) => {
    state = (state * 48_271) % 0x7fff_ffff
    return state % Math.max(1, below)
  }
}
