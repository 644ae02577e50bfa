# Replaces the image of the store if it cannot be pulled; engine.sh builds it.
FROM debian:trixie-slim
COPY weed /usr/bin/weed
RUN install -d -o 1000 -g 1000 /data
USER 1000:1000
VOLUME /data
ENTRYPOINT ["weed", "-logtostderr=true"]
