import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import type { DriverCapabilities, Engine } from '#layerstack/drivers/driver.js'
import type { DriverFactory } from '#layerstack/drivers/factory.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { DEVICEMAPPER_CAPABILITIES } from '#layerstack/drivers/devicemapper/kernel/devicemapper-driver.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { btrfsFixture, noBtrfs } from '../drivers/btrfs-fixture.js'
import { noMounts, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { markdownTable } from './markdown-table.js'

const page = resolve(import.meta.dirname, '../../docs/drivers.md')
const MARKED = /(?<=<!-- drivers: [^\n]*-->\n)[\s\S]*?(?=<!-- \/drivers -->)/

/** With LAYERSTACK_WRITE_DOCS (`npm run docs`) the table is written instead of being compared. */
it('docs/drivers.md lists the capabilities of every driver', unless(noMounts, noBtrfs), async () => {
  const columns = [
    await column(overlay2, 'kernel'),
    await column(overlay2, 'userspace'),
    await columnOfBtrfs(),
    await column(btrfs, 'userspace'),
    { title: 'devicemapper, kernel', capabilities: DEVICEMAPPER_CAPABILITIES },
    await column(devicemapper, 'userspace'),
    await column(vfs, 'userspace'),
  ]
  const text = readFileSync(page, 'utf8')
  const wanted = text.replace(MARKED, `\n${table(columns)}\n\n`)
  if (process.env['LAYERSTACK_WRITE_DOCS'] !== undefined) writeFileSync(page, wanted)
  else expect(text).toBe(wanted)
})

interface Column {
  readonly title: string
  readonly capabilities: DriverCapabilities
}

async function column(factory: DriverFactory, engine: Engine, directory = tmpdir()): Promise<Column> {
  const root = mkdtempSync(join(directory, 'layerstack-table-'))
  try {
    const driver = await factory.open({ root, engine, readOnly: false })
    const { name, capabilities } = driver
    await driver.cleanup()
    return { title: `${name}, ${driver.engine}`, capabilities }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

async function columnOfBtrfs(): Promise<Column> {
  await using place = await btrfsFixture()
  await run('btrfs', ['quota', 'enable', place.path])
  return await column(btrfs, 'kernel', place.path)
}

/** The meaning of each capability in the docs. A new capability needs a line here. */
const MEANINGS: Readonly<Record<keyof DriverCapabilities, string>> = {
  hostPath: 'views have a path on the host',
  cheapSnapshots: 'a new layer costs the same on any parent',
  sharesBlocks: 'a changed file shares what did not change',
  nativeDiff: 'a diff costs what changed, not what is there',
  quota: 'writable layers can be limited',
  maxDepth: 'most layers below one layer',
  nativeAttributes: 'owners, devices and modes are in the inodes',
}

function table(columns: readonly Column[]): string {
  const rows = Object.entries(MEANINGS).map(([name, meaning]) => [
    `\`${name}\`: ${meaning}`,
    ...columns.map(({ capabilities }) => shown(capabilities[name as keyof DriverCapabilities])),
  ])
  return markdownTable([['', ...columns.map(({ title }) => title)], ...rows])
}

function shown(value: boolean | number): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return value === Infinity ? 'any' : String(value)
}
