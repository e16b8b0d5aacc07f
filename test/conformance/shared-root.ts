import type { Driver } from '#layerstack/drivers/driver.js'
import type { DriverFactory, DriverOpenOptions } from '#layerstack/drivers/factory.js'
import { thinPlace, type ThinPlace } from '../drivers/thin-place.js'

const CASES = 12

/**
 * One root of devicemapper for every twelve cases, whatever root they ask for: to make a pool, and to check it, takes longer
 * than most cases.
 */
export class SharedRoot implements Pick<DriverFactory, 'open'> {
  #opened: { readonly place: ThinPlace; readonly driver: Driver } | undefined
  #cases = 0

  async open({ driverOptions }: DriverOpenOptions): Promise<Driver> {
    this.#opened ??= await opened(driverOptions)
    return lent(this.#opened.driver, () => this.#giveBack())
  }

  /** Checks the pool, and the file systems of the layers that are there. */
  async close(): Promise<void> {
    const place = this.#opened?.place
    this.#opened = undefined
    await place?.[Symbol.asyncDispose]()
  }

  async #giveBack(): Promise<void> {
    if (++this.#cases % CASES === 0) return this.close()
    const driver = this.#opened?.driver
    for (const id of (await driver?.list()) ?? []) await driver?.remove(id)
  }
}

async function opened(driverOptions: DriverOpenOptions['driverOptions']) {
  const place = thinPlace()
  return { place, driver: await place.open(driverOptions) }
}

/** The driver, but for its cleanup. */
function lent(driver: Driver, cleanup: Driver['cleanup']): Driver {
  return new Proxy(driver, {
    get: (target, key) => {
      if (key === 'cleanup') return cleanup
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
