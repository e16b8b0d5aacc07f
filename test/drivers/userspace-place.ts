import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Driver } from '#layerstack/drivers/driver.js'
import type { DriverFactory, DriverOpenOptions } from '#layerstack/drivers/factory.js'
import { notInstalled } from '../support/needs.js'
import { run } from '../support/program.js'

const noJudge = notInstalled('thin_check')

/** A root for a driver in userspace; all that was opened is given back with it. */
export class UserspacePlace implements AsyncDisposable {
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

  /** Closes what was opened; a pool is what thin_check takes for whole, where it is installed. */
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

/** In bytes, or the unit of the row. */
export async function rowOf(driver: Driver, key: string): Promise<number> {
  return Number.parseInt(new Map(await driver.status()).get(key) ?? '', 10)
}
