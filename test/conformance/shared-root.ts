import type { Driver } from '#layerstack/drivers/driver.js'
import type { DriverFactory, DriverOpenOptions } from '#layerstack/drivers/factory.js'
import { thinFixture, type ThinFixture } from '../drivers/thin-fixture.js'

const CASES = 12

/**
 * Shares one devicemapper root among twelve cases and ignores the root that they ask for. Creating and checking a pool
 * takes longer than most cases.
 */
export class SharedRoot implements Pick<DriverFactory, 'open'> {
  #opened: { readonly fixture: ThinFixture; readonly driver: Driver } | undefined
  #cases = 0

  async open({ driverOptions }: DriverOpenOptions): Promise<Driver> {
    this.#opened ??= await opened(driverOptions)
    return lent(this.#opened.driver, () => this.#giveBack())
  }

  /** Checks the pool and the file systems of its layers, and removes the root. */
  async close(): Promise<void> {
    const fixture = this.#opened?.fixture
    this.#opened = undefined
    await fixture?.[Symbol.asyncDispose]()
  }

  async #giveBack(): Promise<void> {
    if (++this.#cases % CASES === 0) return this.close()
    const driver = this.#opened?.driver
    for (const id of (await driver?.list()) ?? []) await driver?.remove(id)
  }
}

async function opened(driverOptions: DriverOpenOptions['driverOptions']) {
  const fixture = thinFixture()
  return { fixture, driver: await fixture.open(driverOptions) }
}

/** The driver with another `cleanup`. */
function lent(driver: Driver, cleanup: Driver['cleanup']): Driver {
  return new Proxy(driver, {
    get: (target, key) => {
      if (key === 'cleanup') return cleanup
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
