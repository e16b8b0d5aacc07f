import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Driver } from '#layerstack/drivers/driver.js'
import type { DriverFactory, DriverOpenOptions } from '#layerstack/drivers/factory.js'
import { notInstalled } from '../support/needs.js'
import { run } from '../support/program.js'

const noJudge = notInstalled('thin_check')

/** A root for a userspace driver. Disposal cleans up the drivers that it opened and removes the root. */
export class UserspaceFixture implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'layerstack-userspace-'))
  readonly #factory: DriverFactory
  readonly #opened: Driver[] = []

  constructor(factory: DriverFactory) {
    this.#factory = factory
  }

  async open(options: Partial<DriverOpenOptions> = {}): Promise<Driver> {
    const { root } = this
    const driver = await this.#factory.open({ root, engine: 'userspace', readOnly: false, ...options })
    this.#opened.push(driver)
    return driver
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const driver of this.#opened) await driver.cleanup().catch(() => undefined)
    rmSync(this.root, { recursive: true, force: true })
  }

  /** Cleans up all drivers, and expects that thin_check accepts the pool's metadata, if it is installed. */
  async mustBeSound(): Promise<void> {
    for (const driver of this.#opened) await driver.cleanup()
    const metadata = join(this.root, 'devicemapper/devicemapper/metadata')
    if (noJudge === undefined && existsSync(metadata)) await run('thin_check', [metadata])
  }
}

export async function write(driver: Driver, id: string, path: string, content: Buffer): Promise<void> {
  const { fs } = await driver.get(id)
  await fs.writeFile(path, content)
  await driver.put(id)
}

/** Returns the leading integer of a status row, in the unit of the row. */
export async function rowOf(driver: Driver, key: string): Promise<number> {
  return Number.parseInt(new Map(await driver.status()).get(key) ?? '', 10)
}
