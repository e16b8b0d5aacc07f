import { clearLine, cursorTo } from 'node:readline'
import type { WriteStream } from 'node:tty'
import type { Step } from './schedule.js'

/** Shows progress in one line at the bottom of a terminal; a no-op if the output is not a terminal. */
export class Progress {
  readonly #out: WriteStream
  readonly #total: number
  readonly #begun = performance.now()
  #current = 0

  constructor(out: WriteStream, total: number) {
    this.#out = out
    this.#total = total
  }

  next(): void {
    this.#current += 1
  }

  show({ workload, contender, doing, round, rounds }: Step): void {
    const turn = doing === 'prepare' ? '' : ` ${round + 1}/${rounds}`
    this.tell(`${workload}  ${contender}  ${doing}${turn}`)
  }

  tell(what: string): void {
    if (!this.#out.isTTY) return
    const line = `${clockOf(performance.now() - this.#begun)}  ${bar(this.#current - 1, this.#total)} ${this.#current}/${this.#total}  ${what}`
    this.clear()
    this.#out.write(line.slice(0, this.#out.columns - 1))
  }

  clear(): void {
    if (!this.#out.isTTY) return
    cursorTo(this.#out, 0)
    clearLine(this.#out, 0)
  }
}

const WIDTH = 20

function bar(done: number, total: number): string {
  const full = Math.round((done / total) * WIDTH)
  return '█'.repeat(full) + '░'.repeat(WIDTH - full)
}

function clockOf(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}
