import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Contender } from './contender.js'
import type { ContenderResult, Sample } from './result.js'
import type { Answer, Order } from './runner.js'

/** The child process in which a contender runs one workload. A failure there ends this contender only. */
export class ContenderProcess {
  readonly contender: Contender
  readonly #process: ChildProcess
  readonly #limit: number
  readonly #samples: Sample[] = []
  #longest = 0
  #failure: string | undefined
  #notHere = false
  #allocated: number | undefined
  #ended: { peakMemory: number; loopDelay: { p99: number; max: number } | undefined } | undefined

  /** @param limit seconds after which the process is killed if it does not answer */
  constructor(contender: Contender, limit: number) {
    this.contender = contender
    this.#limit = limit
    this.#process = fork(join(import.meta.dirname, 'runner.js'), {
      execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
  }

  get works(): boolean {
    return this.#failure === undefined
  }

  /** Seconds that the longest sample took, including unmeasured work. */
  get longest(): number {
    return this.#longest
  }

  async prepare(workload: string, directory: string, image: string | undefined): Promise<void> {
    await this.#ask({ kind: 'prepare', workload, contender: this.contender, directory, image })
  }

  async warmUp(): Promise<void> {
    const answer = await this.#ask({ kind: 'sample', countsDisk: this.#allocated === undefined })
    if (answer?.kind === 'sample') this.#allocated ??= answer.allocated
  }

  async sample(): Promise<Sample | undefined> {
    const begun = performance.now()
    const answer = await this.#ask({ kind: 'sample', countsDisk: false })
    this.#longest = Math.max(this.#longest, (performance.now() - begun) / 1000)
    if (answer?.kind !== 'sample') return undefined
    this.#samples.push(answer.sample)
    return answer.sample
  }

  async end(): Promise<void> {
    const answer = await this.#ask({ kind: 'end' })
    if (answer?.kind === 'ended') this.#ended = answer
    if (this.#process.connected) this.#process.disconnect()
    if (this.#process.exitCode === null && this.#process.signalCode === null)
      await once(this.#process, 'exit')
  }

  get result(): ContenderResult {
    const { peakMemory, loopDelay } = this.#ended ?? {}
    return {
      name: this.contender.name,
      kind: this.contender.kind,
      samples: this.#samples,
      ...(this.#failure !== undefined && { failure: this.#failure }),
      ...(this.#notHere && { notHere: true }),
      ...(peakMemory !== undefined && { peakMemory }),
      ...(this.#allocated !== undefined && { allocated: this.#allocated }),
      ...(loopDelay !== undefined && { loopDelay }),
    }
  }

  /** After a failure, the process receives only the order to end. */
  async #ask(order: Order): Promise<Answer | undefined> {
    if (!this.works && order.kind !== 'end') return undefined
    if (!this.#process.connected) return this.#fail('its process exited')
    const answered = new Promise<Answer | undefined>((resolve) => {
      const done = (answer?: Answer) => {
        clearTimeout(clock)
        this.#process.off('message', done).off('exit', gone)
        resolve(answer)
      }
      const gone = () => done()
      this.#process.on('message', done).on('exit', gone)
      const clock = setTimeout(() => this.#giveUp(), this.#limit * 1000)
    })
    this.#process.send(order)
    const answer = await answered
    if (answer === undefined) return this.#fail('its process exited')
    if (answer.kind !== 'failed') return answer
    this.#notHere ||= answer.notHere
    return this.#fail(answer.reason)
  }

  #giveUp(): void {
    this.#fail(`killed after ${this.#limit} seconds without an answer`)
    this.#process.kill('SIGKILL')
  }

  #fail(reason: string): undefined {
    this.#failure ??= reason
    return undefined
  }
}
